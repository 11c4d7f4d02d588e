//! The spelling of profiles: `[<C>c.]<G>g.<GB>gb[+attribute{,attribute}|-attribute{,…}]`.
//!
//! Grammar and canonical form follow mig-parted v0.15 (go-nvlib `mig_profile.go`): lower case,
//! compute slices omitted where they equal the GPU instance's.

use std::fmt;
use std::str::FromStr;

/// A parsed profile name. Ordering is by slices, then size, then attributes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName {
    /// Compute slices of the GPU instance (the `3` of `3g.40gb`).
    pub gpu_slices: u32,
    /// Gigabytes in the name. Only a name: usable memory is in the board's tables.
    pub gigabytes: u32,
    /// Compute slices of the compute instance (the `1` of `1c.3g.40gb`); equal to `gpu_slices`
    /// unless the instance is shared between several compute instances.
    pub compute_instance_slices: u32,
    /// Attributes that follow a `+`, such as `me`, `me.all`, `gfx`.
    pub plus: Vec<String>,
    /// Attributes that follow a `-`: `me`.
    pub minus: Vec<String>,
}

/// Which of a GPU's media engines (JPEG, OFA, extra decoders) an instance owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEngines {
    /// What the plain profile has.
    Default,
    /// `+me`: one set; at most one such instance on a GPU.
    One,
    /// `+me.all`: every engine; all other instances of the GPU must be `-me`.
    All,
    /// `-me`: none.
    None,
}

/// A text that is not a profile name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a MIG profile name such as 2g.20gb or 1g.10gb+me")]
pub struct ProfileNameError(pub String);

impl ProfileName {
    /// The engines that the attributes name.
    pub fn media_engines(&self) -> MediaEngines {
        if self.plus.iter().any(|a| a == "me.all") {
            MediaEngines::All
        } else if self.plus.iter().any(|a| a == "me") {
            MediaEngines::One
        } else if self.minus.iter().any(|a| a == "me") {
            MediaEngines::None
        } else {
            MediaEngines::Default
        }
    }

    /// Whether the name has no attributes.
    pub fn is_plain(&self) -> bool {
        self.plus.is_empty() && self.minus.is_empty()
    }

    /// The GPU instance's own profile: the name without a smaller compute instance.
    #[must_use]
    pub fn gpu_instance(&self) -> ProfileName {
        ProfileName { compute_instance_slices: self.gpu_slices, ..self.clone() }
    }

    /// The name as Kubernetes labels and resource names take it: `+` becomes `.`.
    pub fn label(&self) -> String {
        self.to_string().replace('+', ".")
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.compute_instance_slices != self.gpu_slices {
            write!(f, "{}c.", self.compute_instance_slices)?;
        }
        write!(f, "{}g.{}gb", self.gpu_slices, self.gigabytes)?;
        for (sign, attributes) in [('+', &self.plus), ('-', &self.minus)] {
            for (i, attribute) in attributes.iter().enumerate() {
                write!(f, "{}{attribute}", if i == 0 { sign } else { ',' })?;
            }
        }
        Ok(())
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ProfileNameError(text.to_string()))
    }
}

fn parse(text: &str) -> Option<ProfileName> {
    let (compute, rest) = match text.split_once("c.") {
        Some((compute, rest)) => (Some(number(compute)?), rest),
        None => (None, text),
    };
    let (slices, rest) = rest.split_once("g.")?;
    let gpu_slices = number(slices)?;
    let (gigabytes, attributes) = rest.split_once("gb")?;
    let (mut plus, mut minus) = (Vec::new(), Vec::new());
    if !attributes.is_empty() {
        let list = match attributes.split_at_checked(1)? {
            ("+", list) => {
                plus = split_attributes(list)?;
                list
            }
            ("-", list) => {
                minus = split_attributes(list)?;
                list
            }
            _ => return None,
        };
        if list.is_empty() {
            return None;
        }
    }
    Some(ProfileName {
        gpu_slices,
        gigabytes: number(gigabytes)?,
        compute_instance_slices: compute.unwrap_or(gpu_slices),
        plus,
        minus,
    })
}

fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().filter(|n| *n > 0)
}

fn split_attributes(list: &str) -> Option<Vec<String>> {
    let mut attributes: Vec<String> = Vec::new();
    for attribute in list.split(',') {
        let well_formed = attribute.starts_with(|c: char| c.is_ascii_lowercase())
            && attribute.ends_with(|c: char| c.is_ascii_alphanumeric())
            && attribute.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.');
        if !well_formed || attributes.iter().any(|a| a == attribute) {
            return None;
        }
        attributes.push(attribute.to_string());
    }
    attributes.sort();
    Some(attributes)
}

impl serde::Serialize for ProfileName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ProfileName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names_survive() {
        for name in
            ["1g.10gb", "1g.10gb+me", "1c.3g.40gb", "2g.48gb+me.all", "1g.24gb-me", "7g.141gb"]
        {
            assert_eq!(name.parse::<ProfileName>().unwrap().to_string(), name);
        }
        assert_eq!("1c.1g.5gb".parse::<ProfileName>().unwrap().to_string(), "1g.5gb");
    }

    #[test]
    fn what_mig_parted_refuses_is_refused() {
        for name in [
            "MIG 1g.5gb",
            "1g.5gb.me",
            "1g.5GB",
            "",
            "g.gb",
            "1g.5gb+me+gfx",
            "1g.5gb+",
            "1g.5gb+9x",
            "1g.5gb+me,me",
            "0g.5gb",
            "-1g.5gb",
            "1g.5gb +me",
        ] {
            assert!(name.parse::<ProfileName>().is_err(), "{name}");
        }
    }

    #[test]
    fn engines_and_labels() {
        let name: ProfileName = "1g.10gb+me".parse().unwrap();
        assert_eq!(name.media_engines(), MediaEngines::One);
        assert_eq!(name.label(), "1g.10gb.me");
        assert_eq!(
            "2g.48gb+me.all".parse::<ProfileName>().unwrap().media_engines(),
            MediaEngines::All
        );
        assert_eq!(
            "2g.48gb-me".parse::<ProfileName>().unwrap().media_engines(),
            MediaEngines::None
        );
    }
}
