//! From the instances that a GPU has to those that it shall have.
//!
//! [`change`] finds the cheapest change, [`creatable`] what could still be created beside what is
//! there. Pure functions of placements: no demand, no plan, no driver.

pub mod change;
pub mod creatable;
pub mod present;
