//! Scrapes without times, in the order in which they are read: which of them are of one moment.
//!
//! The text of an exporter has no times. Appended to a file, or read from several files, scrapes of
//! different devices are taken for looks at one moment, and a device that is met again for a look
//! at the next, whether a pod holds it or not.

/// What each scrape has, and what tells where the next one starts.
#[derive(Debug, Default)]
pub(super) struct Scrapes {
    /// The devices in each, every one once.
    devices: Vec<Vec<u32>>,
    /// For each device, its last scrape.
    last: Vec<Option<Look>>,
}

/// That a device is in a scrape.
#[derive(Debug, Clone, Copy)]
struct Look {
    scrape: u32,
    /// Whether no pod held it.
    idle: bool,
}

impl Scrapes {
    /// The number of the present scrape.
    pub(super) fn present(&self) -> u32 {
        super::index(self.devices.len().saturating_sub(1))
    }

    /// Another input: the next scrape starts.
    pub(super) fn begin(&mut self) {
        self.devices.push(Vec::new());
    }

    /// The next scrape starts, unless the present one has nothing yet.
    pub(super) fn next(&mut self) {
        if self.devices.last().is_none_or(|devices| !devices.is_empty()) {
            self.begin();
        }
    }

    /// Adds a device that a pod holds; `again`: the present scrape has this very series already, so
    /// that it is of the next. Returns the number of the scrape.
    pub(super) fn add_held(&mut self, device: u32, again: bool) -> u32 {
        // No scrape shows a device as idle and as held.
        self.add(device, false, again || self.in_present(device).is_some_and(|look| look.idle))
    }

    /// Adds a device that no pod holds.
    pub(super) fn add_idle(&mut self, device: u32) {
        self.add(device, true, self.in_present(device).is_some());
    }

    fn in_present(&self, device: u32) -> Option<Look> {
        let last = self.last.get(device as usize).copied().flatten();
        last.filter(|look| look.scrape == self.present())
    }

    fn add(&mut self, device: u32, idle: bool, is_next: bool) -> u32 {
        if is_next || self.devices.is_empty() {
            self.next();
        }
        let scrape = self.present();
        if self.in_present(device).is_none() {
            self.devices[scrape as usize].push(device);
        }
        if self.last.len() <= device as usize {
            self.last.resize(device as usize + 1, None);
        }
        self.last[device as usize] = Some(Look { scrape, idle });
        scrape
    }

    /// The moment of each scrape, as a number.
    pub(super) fn instants(&self) -> Vec<u32> {
        let mut next = vec![0; self.last.len()];
        let of_scrape = |devices: &Vec<u32>| {
            let instant = devices.iter().map(|device| next[*device as usize]).max().unwrap_or(0);
            devices.iter().for_each(|device| next[*device as usize] = instant + 1);
            instant
        };
        self.devices.iter().map(of_scrape).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of scrapes that follow each other without anything between them, as devices
    /// that are held (above 0) and idle (below).
    fn instants(lines: &[i32]) -> Vec<u32> {
        let mut scrapes = Scrapes::default();
        for line in lines {
            let device = line.unsigned_abs();
            match line {
                1.. => {
                    let again = scrapes.in_present(device).is_some_and(|look| !look.idle);
                    scrapes.add_held(device, again);
                }
                _ => scrapes.add_idle(device),
            }
        }
        scrapes.instants()
    }

    #[test]
    fn a_device_that_is_met_again_is_of_the_next_scrape() {
        assert_eq!(instants(&[1, 2, 1, 2]), [0, 1]);
        assert_eq!(instants(&[1, -2, -1, 2]), [0, 1]);
        assert_eq!(instants(&[-1, 2, 1, -2]), [0, 1]);
        assert_eq!(instants(&[-1, -2, -1, -2]), [0, 1]);
        assert_eq!(instants(&[1, -2, 3]), [0]);
    }

    #[test]
    fn scrapes_of_other_devices_are_of_one_moment() {
        let mut scrapes = Scrapes::default();
        for devices in [[1, 2], [3, 4], [1, 2], [3, 4], [5, 6]] {
            scrapes.begin();
            scrapes.add_held(devices[0], false);
            scrapes.add_idle(devices[1]);
        }
        assert_eq!(scrapes.instants(), [0, 0, 1, 1, 0]);
    }
}
