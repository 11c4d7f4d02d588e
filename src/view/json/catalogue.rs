//! What `migplan catalogue --format json` prints.

use serde::Serialize;
use serde_json::Value;

use crate::hardware::Catalogue;

/// Schema key of [`CatalogueDocument`].
pub const CATALOGUE_SCHEMA: &str = "migplan.catalogue/v1";

/// Every board, each as its file (schema `migplan.board/v1`), as `--catalogue` takes them.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CatalogueDocument {
    /// Always [`CATALOGUE_SCHEMA`].
    pub schema: &'static str,
    /// The boards, ordered by id.
    #[cfg_attr(test, schemars(with = "Vec<crate::hardware::board_file::BoardFile>"))]
    pub boards: Vec<Value>,
}

impl CatalogueDocument {
    /// The document of a catalogue.
    pub fn new(catalogue: &Catalogue) -> CatalogueDocument {
        let boards = catalogue.boards().iter().filter_map(|b| catalogue.file(&b.id)).collect();
        CatalogueDocument { schema: CATALOGUE_SCHEMA, boards }
    }
}
