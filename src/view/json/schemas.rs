//! The JSON Schemas in `data/schemas/`: made from the structs, one file for each document.
//!
//! `UPDATE_GOLDEN=1 cargo test --lib schemas` writes them anew; read the difference: a key may be
//! added, never renamed. Only tests make them, so that neither the command nor the library needs
//! the generator.

use std::borrow::Cow;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{catalogue, check, comparison, demand, events, replay, runs, schedule, size, status};
use crate::emit::capacity::{CAPACITY_SCHEMA, Capacity};
use crate::hardware::ProfileName;
use crate::hardware::board_file::BoardFile;
use crate::hardware::catalogue::BOARD_SCHEMA;
use crate::plan::{InstanceProfile, PLAN_SCHEMA, file::PlanDocument};

impl JsonSchema for ProfileName {
    fn schema_name() -> Cow<'static, str> {
        "ProfileName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A MIG profile, as nvidia-mig-parted spells it, such as 1g.10gb+me.",
            "type": "string",
            "pattern": r"^([1-7]c\.)?[1-7]g\.[1-9][0-9]*gb([+-][a-z0-9.]+)*$",
        })
    }
}

impl JsonSchema for InstanceProfile {
    fn schema_name() -> Cow<'static, str> {
        "InstanceProfile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A MIG profile, or `full`: the whole GPU with MIG off.",
            "anyOf": [{ "const": crate::hardware::FULL_GPU }, generator.subschema_for::<ProfileName>()],
        })
    }
}

/// The schema of a document that is written, whose key `schema` is `id`.
fn schema_of<T: JsonSchema>(id: &str) -> (String, Schema) {
    schema_with::<T>(id, SchemaSettings::draft2020_12().for_serialize())
}

/// The schema of a document that users write too: what has a default may be left out.
fn schema_of_input<T: JsonSchema>(id: &str) -> (String, Schema) {
    schema_with::<T>(id, SchemaSettings::draft2020_12().for_deserialize())
}

fn schema_with<T: JsonSchema>(id: &str, settings: SchemaSettings) -> (String, Schema) {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), id.into());
    if let Some(key) = schema.pointer_mut("/properties/schema") {
        *key = serde_json::json!({ "const": id });
    }
    let file = id.strip_prefix("migplan.").unwrap_or(id).replace('/', ".");
    (format!("{file}.schema.json"), schema)
}

fn schemas() -> Vec<(String, Schema)> {
    vec![
        schema_of::<PlanDocument<'_>>(PLAN_SCHEMA),
        schema_of::<Capacity>(CAPACITY_SCHEMA),
        schema_of_input::<BoardFile>(BOARD_SCHEMA),
        schema_of::<catalogue::CatalogueDocument>(catalogue::CATALOGUE_SCHEMA),
        schema_of::<check::CheckDocument>(check::CHECK_SCHEMA),
        schema_of::<check::LiveCheckDocument>(check::LIVE_CHECK_SCHEMA),
        schema_of::<comparison::ComparisonDocument>(comparison::COMPARISON_SCHEMA),
        schema_of::<demand::DemandDocument>(demand::DEMAND_SCHEMA),
        schema_of::<events::EventLine>(events::EVENTS_SCHEMA),
        schema_of::<replay::ReplayDocument>(replay::REPLAY_SCHEMA),
        schema_of::<runs::RunsJson<'_>>(runs::RUNS_SCHEMA),
        schema_of::<schedule::ScheduleDocument<'_>>(schedule::SCHEDULE_SCHEMA),
        schema_of::<size::SizeDocument>(size::SIZE_SCHEMA),
        schema_of::<status::StatusJson>(status::STATUS_SCHEMA),
    ]
}

#[test]
fn the_schemas_are_those_of_the_structs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/schemas");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = folder.join(&name);
        if update {
            std::fs::write(&file, &text).unwrap();
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != text {
            different.push(name);
        }
    }
    assert!(different.is_empty(), "{different:?} differ; UPDATE_GOLDEN=1 writes them anew");
}
