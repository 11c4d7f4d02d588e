//! Which workload of the demand a row of a plan means. Knows names only.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::demand::Demand;

/// Finds workloads by team and name.
pub(super) struct Index<'a> {
    demand: &'a Demand,
    /// A workload for each address of a name. A plan that was made from this demand has the demand's
    /// own names, and then none of them needs to be read, which of millions takes longest.
    by_address: HashMap<usize, usize>,
}

impl<'a> Index<'a> {
    pub(super) fn new(demand: &'a Demand) -> Self {
        let workloads = demand.workloads().iter().enumerate();
        let by_address = workloads.map(|(index, w)| (address(&w.name), index)).collect();
        Index { demand, by_address }
    }

    /// The index of the workload `name` of `team`; `None` where the demand has none.
    pub(super) fn of(&self, team: &Arc<str>, name: &Arc<str>) -> Option<usize> {
        let is_it = |index: &usize| {
            let workload = &self.demand.workloads()[*index];
            let same_team = Arc::ptr_eq(&workload.team, team) || workload.team == *team;
            same_team && Arc::ptr_eq(&workload.name, name)
        };
        let own = self.by_address.get(&address(name)).copied().filter(is_it);
        own.or_else(|| self.demand.position(team, name))
    }
}

fn address(name: &Arc<str>) -> usize {
    Arc::as_ptr(name).cast::<u8>().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Workload;
    use crate::units::Mebibytes;

    #[test]
    fn a_name_is_found_wherever_it_lies() {
        let shared: Arc<str> = "w".into();
        let workload = |team: &str, name: &Arc<str>| Workload {
            name: name.clone(),
            ..Workload::new(team, "", Mebibytes(1), 1)
        };
        let other = workload("b", &"v".into());
        // Two workloads of one name that lies at one place, and another.
        let demand =
            Demand::new(vec![workload("a", &shared), workload("b", &shared), other.clone()]);
        let index = Index::new(&demand);
        let of = |team: &str, name: &Arc<str>| index.of(&team.into(), name);
        assert_eq!(
            (of("a", &shared), of("b", &shared), of("c", &shared)),
            (Some(0), Some(2), None)
        );
        assert_eq!((of("a", &"w".into()), of("b", &"w".into())), (Some(0), Some(2)));
        assert_eq!((of("b", &other.name), of("b", &"v".into())), (Some(1), Some(1)));
        assert_eq!(
            (of("a", &other.name), of("a", &"v".into()), of("a", &"".into())),
            (None, None, None)
        );
    }
}
