//! Changes beside resets. A reset takes everything from its GPU, and in some servers from others that
//! are reset together with it. So what goes and the modes come first, then all resets, and only then
//! what is created, on what a new reading shows. Pure: reads no GPU.

use super::guard::{self, GpuChange};
use super::state::GpuState;
use crate::fleet::observed::{MigMode, ObservedGpu};
use crate::reconfigure::change::{Change, Refit};

impl GpuChange {
    /// Whether steps of it come before the first reset: it needs one itself, or its pending mode would
    /// become current by that of another GPU.
    pub(super) fn is_before_resets(&self) -> bool {
        let cancels = |on| on == self.from.mig && on != self.from.mig_pending;
        self.resets() || self.mode.is_some_and(|mode| cancels(mode.on))
    }

    /// What is left of it after the resets, for the GPU as it is `now`: without what came before them,
    /// and with all that it shall have where a reset took that along.
    pub(super) fn after_resets(&self, now: &ObservedGpu) -> GpuChange {
        let left = match self.is_before_resets() {
            true => self.without_first_steps(),
            false => self.clone(),
        };
        let taken_along = || {
            let state = GpuState::of(now).filter(|state| state.instances.is_empty())?;
            let mode = now.mode.filter(|mode| *mode == MigMode::settled(left.from.mig_pending))?;
            let mut anew = left.clone();
            anew.change =
                Change { create: self.to.creates(&self.board).ok()?, ..Change::default() };
            anew.mode = guard::mode_change(&self.board, mode, self.to.mig, self.to.mig_pending);
            anew.present.clear();
            anew.from = state;
            (!anew.resets()).then_some(anew)
        };
        match now.uuid != self.from.uuid || left.from.is_state_of(now) {
            true => left,
            false => taken_along().unwrap_or(left),
        }
    }

    /// It after what goes has gone and the mode is as it shall be.
    fn without_first_steps(&self) -> GpuChange {
        let stays = |i: &usize| !self.change.destroy.contains(i);
        let stays: Vec<usize> = (0..self.present.len()).filter(stays).collect();
        let now_at = |i: usize| stays.iter().position(|&old| old == i);
        let refit =
            |refit: &Refit| Some(Refit { instance: now_at(refit.instance)?, ..refit.clone() });
        let mut left = self.clone();
        left.change.destroy.clear();
        left.change.keep = self.change.keep.iter().filter_map(|&i| now_at(i)).collect();
        left.change.refit = self.change.refit.iter().filter_map(refit).collect();
        left.present = stays.iter().map(|&i| self.present[i].clone()).collect();
        let present = &left.present;
        left.from.instances.retain(|old| present.iter().any(|stays| stays.start == old.start));
        if let Some(mode) = left.mode.take() {
            (left.from.mig, left.from.mig_pending) = (mode.on, mode.on);
        }
        left
    }
}
