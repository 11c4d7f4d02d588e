//! The signs of points: each kind of way to serve a demand has a shape and a colour of its own.

use super::palette::{BLUE, Color, EDGE, GREEN, INK, ORANGE, PURPLE};
use super::picture::Picture;
use crate::view::figures::WayKind;

/// The sign of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    Way(WayKind),
    Frontier,
}

impl Marker {
    pub(super) fn draw(self, picture: &mut Picture, at: (f64, f64)) {
        let (x, y) = at;
        let polygon = |r: f64, angles: &[f64]| -> Vec<(f64, f64)> {
            angles
                .iter()
                .map(|a| (x + r * a.to_radians().cos(), y + r * a.to_radians().sin()))
                .collect()
        };
        let mut outlined = |r: f64, angles: &[f64], color: Color| {
            picture.polygon(polygon(r + 1.6, angles), INK);
            picture.polygon(polygon(r, angles), color);
        };
        match self {
            Marker::Way(WayKind::Plan) => outlined(7.5, &[0.0, 90.0, 180.0, 270.0], BLUE),
            Marker::Way(WayKind::WholeGpus) => outlined(6.5, &[45.0, 135.0, 225.0, 315.0], PURPLE),
            Marker::Way(WayKind::Heuristic) => outlined(6.5, &[-90.0, 30.0, 150.0], GREEN),
            Marker::Way(WayKind::Preset) => {
                picture.disc(at, 5.8, INK);
                picture.disc(at, 4.8, ORANGE);
            }
            Marker::Frontier => picture.disc(at, 2.6, EDGE),
        }
    }
}
