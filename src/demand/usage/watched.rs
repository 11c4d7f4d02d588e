//! Which devices a server watches: an answer to a query shows all of them that the query is about, so
//! what was in one answer is looked at together, and so is what either of two such was with.

use std::cmp::min;

/// The devices, each with an earlier one that is watched with it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// For each device an earlier one, or itself.
    with: Vec<u32>,
    /// A device of the present answer.
    in_answer: Option<u32>,
}

impl Watched {
    /// Another answer starts.
    pub(super) fn next_answer(&mut self) {
        self.in_answer = None;
    }

    /// A device is in the present answer.
    pub(super) fn add(&mut self, device: u32) {
        let known = super::index(self.with.len());
        self.with.extend(known..device.saturating_add(1));
        let first = self.in_answer.unwrap_or(device);
        let (of_device, of_answer) = (self.of(device), self.of(first));
        let earlier = min(of_device, of_answer);
        for device in [device, of_device, of_answer] {
            self.with[device as usize] = earlier;
        }
        self.in_answer = Some(earlier);
    }

    /// What is watched with a device, as one number.
    pub(super) fn of(&self, mut device: u32) -> u32 {
        while let Some(earlier) = self.with.get(device as usize).filter(|d| **d != device) {
            device = *earlier;
        }
        device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_share_a_device_are_of_one_server() {
        let mut watched = Watched::default();
        for answer in [&[4, 2][..], &[7, 9], &[5], &[9, 4]] {
            watched.next_answer();
            answer.iter().for_each(|device| watched.add(*device));
        }
        let of = |device| watched.of(device);
        assert!([4, 7, 9].iter().all(|device| of(*device) == of(2)));
        assert_eq!((of(5), of(3), of(100)), (5, 3, 100));
    }
}
