//! Reading mig-parted's configuration (`version: v1`), strictly.
//!
//! nvidia-mig-parted accepts much that cannot work and finds out with half of the GPUs changed:
//! profiles that the board does not have, counts that do not fit, a filter or an index that names
//! no GPU, duplicate keys, entries that contradict each other. Here each of these is a
//! problem with its line, all of them reported at once, before anything is touched. Whatever
//! mig-parted takes and can carry out is taken here too, with the same meaning.
//!
//! [`export`] goes the other way: what a node has, in mig-parted's YAML; [`checkpoint`] has the
//! form with placements, both ways. This module knows boards and what instances are; it knows no
//! driver and opens no files.

pub mod assignments;
pub mod checkpoint;
pub mod export;
pub mod fleet_check;
mod packing;
mod resolve;
mod yaml;

use std::collections::BTreeMap;

use crate::error::{Diagnostic, Error, Result};
use crate::hardware::ProfileName;
use crate::table::shorten;
pub use resolve::{Mig, NodeGpu, Resolved, WantedGpu, WantedUnknown};
use yaml::{Node, Value};

const HINT: &str = "a mig-parted file has 'version: v1' and 'mig-configs' with labels, each a list of entries with devices, mig-enabled and mig-devices";

/// A file of mig-parted configurations, by label.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    file: String,
    labels: BTreeMap<String, Vec<Entry>>,
}

/// One entry of a label: which GPUs, and what they shall be.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    line: u64,
    /// Empty: every GPU.
    filters: Vec<Filter>,
    filter_line: u64,
    devices: Devices,
    devices_line: u64,
    mig: bool,
    /// Without zero counts.
    profiles: Vec<WantedProfile>,
}

/// `0x<device><vendor>`, and after a colon the same of the subsystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filter {
    device: u32,
    subsystem: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Devices {
    All,
    Indices(Vec<u32>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedProfile {
    name: ProfileName,
    count: u32,
    line: u64,
}

impl Config {
    /// Reads a file; `file` is its name for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it (exit 3), with lines, also under labels that are not
    /// selected, as mig-parted does.
    pub fn parse(text: &str, file: &str) -> Result<Config> {
        let root = yaml::parse(text, file).map_err(|e| e.hint(HINT))?;
        let mut reader = Reader { problems: Vec::new() };
        let labels = reader.file(&root);
        if !reader.problems.is_empty() {
            let problems = reader.problems.into_iter().map(|p| p.in_file(file)).collect();
            return Err(Error::inputs(problems).hint(HINT));
        }
        Ok(Config { file: file.to_string(), labels })
    }

    /// The labels, in alphabetical order.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.keys().map(String::as_str)
    }

    /// The label that is meant: the one named, or the only one that there is.
    ///
    /// # Errors
    /// No such label, or several and none named (exit 3).
    pub fn select(&self, label: Option<&str>) -> Result<&str> {
        let known = || self.labels().collect::<Vec<_>>().join(", ");
        let problem = match label {
            Some(label) => match self.labels.get_key_value(label) {
                Some((label, _)) => return Ok(label),
                None => format!("has no label '{label}', only {}", known()),
            },
            None => match self.labels.first_key_value() {
                Some((label, _)) if self.labels.len() == 1 => return Ok(label),
                _ => format!("has several labels: {}", known()),
            },
        };
        Err(Error::input(Diagnostic::new(problem).in_file(&self.file))
            .hint("name one of the labels with -c LABEL"))
    }
}

/// What to give instead of a Kubernetes object, if the file is one: mig-manager keeps the file as a
/// text in a ConfigMap.
fn kubernetes_object(entries: &[(Node, Node)]) -> Option<String> {
    let get = |name: &str| {
        let is_it = |(key, _): &&(Node, Node)| key.value == Value::Text(name.to_string());
        entries.iter().find(is_it).map(|(_, value)| &value.value)
    };
    let (Some(_), Some(Value::Text(kind))) = (get("apiVersion"), get("kind")) else { return None };
    let kind = shorten(kind);
    Some(match kind == "ConfigMap" {
        true => "is a ConfigMap; what is read is the file in it: kubectl get configmap NAME -o jsonpath='{.data.config\\.yaml}' > config.yaml".to_string(),
        false => format!("is a Kubernetes {kind}, not a mig-parted configuration"),
    })
}

/// Collects problems while it walks the tree.
struct Reader {
    problems: Vec<Diagnostic>,
}

impl Reader {
    fn wrong(&mut self, line: u64, message: impl Into<String>) {
        self.problems.push(Diagnostic::new(message).at_line(line));
    }

    /// The fields of a mapping; keys that are not text, duplicate or not `known` are problems.
    fn fields<'a>(
        &mut self,
        entries: &'a [(Node, Node)],
        known: Option<&[&str]>,
        what: &str,
    ) -> Vec<(&'a str, u64, &'a Node)> {
        let mut fields: Vec<(&str, u64, &Node)> = Vec::new();
        let mut first: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, value) in entries {
            let Value::Text(name) = &key.value else {
                self.wrong(key.line, format!("{what}: the key {} is not text", key.describe()));
                continue;
            };
            if known.is_some_and(|known| !known.contains(&name.as_str())) {
                let known = known.unwrap_or_default();
                let near = known.iter().find(|k| k.eq_ignore_ascii_case(name)).map_or_else(
                    || format!("only {} are allowed here", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                self.wrong(key.line, format!("{what}: unexpected field '{name}'; {near}"));
                continue;
            }
            if let Some(line) = first.insert(name, key.line) {
                self.wrong(key.line, format!("{what}: duplicate '{name}', first on line {line}"));
                continue;
            }
            fields.push((name, key.line, value));
        }
        fields
    }

    fn file(&mut self, root: &Node) -> BTreeMap<String, Vec<Entry>> {
        let mut labels = BTreeMap::new();
        let entries = match &root.value {
            Value::Map(entries) => entries,
            Value::Null => {
                self.problems.push(Diagnostic::new("is empty"));
                return labels;
            }
            _ => {
                self.wrong(
                    root.line,
                    format!("{} is not a mig-parted configuration", root.describe()),
                );
                return labels;
            }
        };
        if let Some(message) = kubernetes_object(entries) {
            self.wrong(root.line, message);
            return labels;
        }
        let fields = self.fields(entries, Some(&["version", "mig-configs"]), "the file");
        let get = |name: &str| fields.iter().find(|(n, ..)| *n == name);
        match get("version") {
            None => self.wrong(root.line, "the field 'version' is missing; write version: v1"),
            Some((_, line, value)) => {
                if value.value != Value::Text("v1".to_string()) {
                    self.wrong(*line, format!("version: {} is not v1", value.describe()));
                }
            }
        }
        match get("mig-configs") {
            None => self.wrong(root.line, "the field 'mig-configs' is missing"),
            Some((_, line, value)) => match &value.value {
                Value::Map(configs) if !configs.is_empty() => {
                    for (label, line, value) in self.fields(configs, None, "mig-configs") {
                        let entries = self.label(label, line, value);
                        labels.insert(label.to_string(), entries);
                    }
                }
                Value::Map(_) | Value::Null => self.wrong(*line, "mig-configs: has no label"),
                _ => self.wrong(
                    *line,
                    format!("mig-configs: {} is not a mapping of labels", value.describe()),
                ),
            },
        }
        labels
    }

    fn label(&mut self, label: &str, line: u64, value: &Node) -> Vec<Entry> {
        match &value.value {
            Value::List(list) if !list.is_empty() => {
                list.iter().filter_map(|entry| self.entry(label, entry)).collect()
            }
            Value::List(_) | Value::Null => {
                self.wrong(line, format!("'{label}': needs at least one entry"));
                Vec::new()
            }
            _ => {
                let what = value.describe();
                self.wrong(line, format!("'{label}': {what} is not a list of entries"));
                Vec::new()
            }
        }
    }

    fn entry(&mut self, label: &str, node: &Node) -> Option<Entry> {
        const FIELDS: &[&str] = &["device-filter", "devices", "mig-enabled", "mig-devices"];
        let Value::Map(entries) = &node.value else {
            self.wrong(node.line, format!("'{label}': {} is not an entry", node.describe()));
            return None;
        };
        let before = self.problems.len();
        let fields = self.fields(entries, Some(FIELDS), &format!("'{label}'"));
        let get = |name: &str| fields.iter().find(|(n, ..)| *n == name).map(|(_, l, v)| (*l, *v));

        let (filter_line, filters) = match get("device-filter") {
            None => (node.line, Vec::new()),
            Some((line, value)) => (line, self.filters(value)),
        };
        let (devices_line, devices) = match get("devices") {
            None => {
                self.wrong(node.line, format!("'{label}': the field 'devices' is missing"));
                (node.line, None)
            }
            Some((line, value)) => (line, self.devices(value)),
        };
        let mig = match get("mig-enabled") {
            None => {
                self.wrong(node.line, format!("'{label}': the field 'mig-enabled' is missing"));
                None
            }
            Some((_, Node { value: Value::Bool(mig), .. })) => Some(*mig),
            Some((line, value)) => {
                let what = value.describe();
                self.wrong(line, format!("mig-enabled: {what} is neither true nor false"));
                None
            }
        };
        let mut profiles = Vec::new();
        match get("mig-devices") {
            None | Some((_, Node { value: Value::Null, .. })) => {
                if mig == Some(true) {
                    self.wrong(
                        node.line,
                        format!("'{label}': mig-enabled is true, so the field 'mig-devices' is needed; {{}} makes no instances"),
                    );
                }
            }
            Some((line, value)) => {
                profiles = self.profiles(line, value);
                if mig == Some(false) && !profiles.is_empty() {
                    self.wrong(line, "mig-devices: has instances, but mig-enabled is false");
                }
            }
        }
        if self.problems.len() > before {
            return None;
        }
        profiles.retain(|p| p.count > 0);
        Some(Entry {
            line: node.line,
            filters,
            filter_line,
            devices: devices?,
            devices_line,
            mig: mig?,
            profiles,
        })
    }

    fn filters(&mut self, value: &Node) -> Vec<Filter> {
        let list = match &value.value {
            Value::List(list) => list.as_slice(),
            Value::Text(text) if text.is_empty() => &[],
            _ => std::slice::from_ref(value),
        };
        let mut filters = Vec::new();
        for item in list {
            match &item.value {
                Value::Text(text) => match parse_filter(text) {
                    Some(filter) => filters.push(filter),
                    None => self.wrong(
                        item.line,
                        format!("device-filter: '{text}' is not a PCI id such as \"0x20B210DE\", so it matches no GPU"),
                    ),
                },
                Value::Integer(number) => {
                    self.wrong(item.line, format!("device-filter: write it in quotes: \"0x{number:08X}\""));
                }
                _ => self.wrong(item.line, format!("device-filter: {} is not text", item.describe())),
            }
        }
        filters
    }

    fn devices(&mut self, value: &Node) -> Option<Devices> {
        match &value.value {
            Value::Text(text) if text == "all" => Some(Devices::All),
            Value::Integer(i) => {
                self.wrong(value.line, format!("devices: write a list: [{i}]"));
                None
            }
            Value::List(list) if list.is_empty() => {
                self.wrong(value.line, "devices: the list is empty, so the entry is for no GPU");
                None
            }
            Value::List(list) => {
                let mut indices = Vec::new();
                for item in list {
                    match &item.value {
                        Value::Integer(i) => match u32::try_from(*i) {
                            Ok(index) if indices.contains(&index) => {
                                self.wrong(item.line, format!("devices: duplicate {index}"));
                            }
                            Ok(index) => indices.push(index),
                            Err(_) => {
                                self.wrong(item.line, format!("devices: {i} is not a GPU index"))
                            }
                        },
                        _ => self.wrong(
                            item.line,
                            format!("devices: {} is not a GPU index such as 0", item.describe()),
                        ),
                    }
                }
                Some(Devices::Indices(indices))
            }
            _ => {
                let what = value.describe();
                self.wrong(
                    value.line,
                    format!("devices: {what} is neither 'all' nor a list such as [0, 1]"),
                );
                None
            }
        }
    }

    fn profiles(&mut self, line: u64, value: &Node) -> Vec<WantedProfile> {
        let Value::Map(entries) = &value.value else {
            let what = value.describe();
            self.wrong(
                line,
                format!("mig-devices: {what} is not a mapping such as {{1g.10gb: 7}}"),
            );
            return Vec::new();
        };
        let before = self.problems.len();
        let mut profiles = Vec::new();
        for (text, line, count) in self.fields(entries, None, "mig-devices") {
            let name = match text.parse::<ProfileName>() {
                Ok(name) => Some(name),
                Err(e) => {
                    self.wrong(line, format!("mig-devices: {e}"));
                    None
                }
            };
            let number = match count.value {
                Value::Integer(count) => u32::try_from(count).ok(),
                _ => None,
            };
            if number.is_none() {
                let what = count.describe();
                self.wrong(line, format!("mig-devices: {text}: {what} is not a count"));
            }
            if let (Some(name), Some(count)) = (name, number) {
                profiles.push(WantedProfile { name, count, line });
            }
        }
        let all_zero = !profiles.is_empty() && profiles.iter().all(|p| p.count == 0);
        if all_zero && self.problems.len() == before {
            self.wrong(line, "mig-devices: all counts are 0; write {} for no instances");
        }
        profiles
    }
}

fn parse_filter(text: &str) -> Option<Filter> {
    let number = |text: &str| match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.len() <= 8 && !hex.starts_with('+') => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        None => None,
    };
    match text.split_once(':') {
        None => Some(Filter { device: number(text)?, subsystem: None }),
        Some((device, subsystem)) => {
            Some(Filter { device: number(device)?, subsystem: Some(number(subsystem)?) })
        }
    }
}

#[cfg(test)]
mod tests;
