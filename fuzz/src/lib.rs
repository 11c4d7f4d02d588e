//! What the fuzz targets share; see `tests/fuzz.sh` for how to run them.
pub mod readers;
