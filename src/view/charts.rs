//! Pictures: draws prepared [figures](crate::view::figures) and computes none of their numbers.
//!
//! A figure becomes a [`Picture`], a list of shapes with measured texts, and the picture becomes
//! SVG or PNG. Both look alike, since one embedded font measures every text. Knows neither the
//! optimiser nor files.

mod demand;
mod fit_idle;
mod font;
mod hours;
mod marker;
mod page;
mod palette;
mod picture;
mod png;
mod replay;
mod schedule;
mod slices;
mod svg;
mod usage;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

pub use palette::Theme;
pub use picture::Picture;

use crate::error::Result;
use crate::view::figures::{DemandFigure, FitIdle, ReplayFigure, ScheduleFigure, SliceMap, Usage};
use palette::{BLUE, Color, EDGE, GRID, INK, PAGE, QUIET, SOFT, hex};

/// A figure that can be drawn.
pub trait Chart {
    /// Lays the figure out for a page or a screen.
    fn picture(&self) -> Picture;

    /// Lays the figure out for a telephone.
    fn narrow(&self) -> Picture {
        self.picture()
    }
}

impl Chart for FitIdle {
    fn picture(&self) -> Picture {
        fit_idle::draw(self, page::WIDTH)
    }

    fn narrow(&self) -> Picture {
        fit_idle::draw(self, page::NARROW)
    }
}

impl Chart for ScheduleFigure {
    fn picture(&self) -> Picture {
        schedule::draw(self)
    }
}

impl Chart for SliceMap {
    fn picture(&self) -> Picture {
        slices::draw(self, page::WIDTH)
    }

    fn narrow(&self) -> Picture {
        slices::draw(self, page::NARROW)
    }
}

impl Chart for DemandFigure {
    fn picture(&self) -> Picture {
        demand::draw(self, page::WIDTH)
    }

    fn narrow(&self) -> Picture {
        demand::draw(self, page::NARROW)
    }
}

impl Chart for ReplayFigure {
    fn picture(&self) -> Picture {
        replay::draw(self)
    }
}

impl Chart for Usage {
    fn picture(&self) -> Picture {
        usage::draw(self)
    }
}

impl FitIdle {
    /// The figure for a slide, 16 by 9: the finding (or `title`) above the plan and the few ways
    /// that it is worth comparing with.
    pub fn slide(&self, title: Option<&str>) -> Picture {
        fit_idle::slide::draw(self, title)
    }
}

/// What a picture's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// Shapes and text.
    Svg,
    /// Pixels.
    Png,
}

impl PictureFormat {
    /// The format that the ending of `file` names; `-`, which is stdout, is SVG.
    pub fn of(file: &Path) -> Option<PictureFormat> {
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "svg" => Some(PictureFormat::Svg),
            "png" => Some(PictureFormat::Png),
            _ => (file == Path::new("-")).then_some(PictureFormat::Svg),
        }
    }
}

impl Picture {
    /// The bytes of a file.
    ///
    /// # Errors
    /// As [`Picture::png`].
    pub fn bytes(&self, theme: Theme, format: PictureFormat) -> Result<Vec<u8>> {
        match format {
            PictureFormat::Svg => Ok(self.svg(theme).into_bytes()),
            PictureFormat::Png => self.png(theme),
        }
    }

    /// The picture as an SVG file: text stays text, in the fonts that the reader's machine has.
    pub fn svg(&self, theme: Theme) -> String {
        svg::file(self, theme)
    }

    /// The picture as SVG elements for a page of HTML, from top to bottom; a printed page may end
    /// between two of them. Their colours are the variables that [`style`] sets.
    pub fn svg_parts(&self) -> Vec<String> {
        svg::parts(self)
    }

    /// The picture as PNG at two pixels to a unit, in the embedded font.
    ///
    /// # Errors
    /// An internal error where the backend fails.
    pub fn png(&self, theme: Theme) -> Result<Vec<u8>> {
        png::file(self, theme)
    }
}

/// The CSS variables that pictures on a page of HTML use, and the page itself: dark where the
/// reader asks for it on a screen, light else and on paper.
pub fn style<'p>(pictures: impl IntoIterator<Item = &'p Picture>) -> String {
    let mut colors: BTreeSet<Color> = BTreeSet::from([PAGE, INK, QUIET, GRID, EDGE, SOFT, BLUE]);
    colors.extend(pictures.into_iter().flat_map(Picture::colors));
    let mut css = String::new();
    for (theme, open, close) in [
        (Theme::Light, ":root{color-scheme:light dark;", "}\n"),
        (Theme::Dark, "@media screen and (prefers-color-scheme:dark){:root{", "}}\n"),
    ] {
        css.push_str(open);
        for color in &colors {
            let _ = write!(css, "{}:{};", color.variable(), hex(theme.rgb(*color)));
        }
        css.push_str(close);
    }
    css
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare;
    use crate::demand::{Demand, Workload};
    use crate::fleet::{Fleet, spec};
    use crate::hardware::Catalogue;
    use crate::optimise::{self, PlanOptions};
    use crate::units::Mebibytes;
    use crate::view::figures::{Question, UsagePanel};

    const ODD_NAMES: [&str; 6] = [
        "a-very-long-team-name-for-recommendation-and-search-platform",
        "研究チーム",
        "Команда-обучения",
        "ομάδα",
        "فريق",
        "<b>&\"quote\"'</b>",
    ];

    fn fleet(spec: &str) -> Fleet {
        spec::parse(spec, "--gpus", &Catalogue::built_in()).unwrap()
    }

    /// Workloads of all sizes, some of a higher priority, by a fixed sequence.
    fn demand(workloads: u64, count: u64, most_mib: u64, teams: &[&str]) -> Demand {
        let mut state = 88_172_645_463_325_252u64;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let workload = |i: u64| {
            let team = teams[i as usize % teams.len()];
            let name = format!("{}-{i}", teams[next(teams.len() as u64) as usize]);
            let memory = Mebibytes(500 + next(most_mib - 500));
            let mut workload = Workload::new(team, &name, memory, 1 + next(count));
            workload.priority = [0, 10][next(2) as usize];
            workload
        };
        Demand::new((0..workloads).map(workload).collect())
    }

    /// Every picture of a demand on a fleet; with `MIGPLAN_PICTURES` also as files to look at.
    fn draw(name: &str, demand: &Demand, gpus: &str) {
        let fleet = fleet(gpus);
        let options = PlanOptions::default();
        let comparison = compare::compare(demand, &fleet, &options).unwrap();
        let frontier = compare::frontier(&comparison.plan, demand, &fleet, &options).unwrap();
        let catalogue = Catalogue::built_in();
        for (kind, picture) in [
            ("fit-idle", FitIdle::new(&comparison, &frontier, demand).picture()),
            (
                "slices",
                SliceMap::new(&comparison.plan, demand, &catalogue, Question::Any).picture(),
            ),
            ("demand", DemandFigure::new(&comparison.plan, demand).picture()),
        ] {
            look(&format!("{name}-{kind}"), &picture);
        }
    }

    fn look(name: &str, picture: &Picture) {
        picture::checks::is_tidy(picture);
        let svg = picture.svg(Theme::Light);
        assert!(svg.len() < 2_000_000, "{name}: {} bytes", svg.len());
        let png = picture.png(Theme::Dark).unwrap();
        assert!(png.len() < 2_000_000, "{name}: {} bytes", png.len());
        let reader = ::png::Decoder::new(png.as_slice()).read_info().unwrap();
        let (width, height) = (reader.info().width, reader.info().height);
        assert_eq!(width, (picture.width * 2.0).ceil() as u32);
        assert_eq!(height, (picture.height * 2.0).ceil() as u32);
        if let Some(folder) = std::env::var_os("MIGPLAN_PICTURES") {
            let file = std::path::Path::new(&folder).join(name);
            std::fs::write(file.with_extension("svg"), svg).unwrap();
            std::fs::write(file.with_extension("png"), png).unwrap();
        }
    }

    #[test]
    fn four_gpus() {
        draw("4-3", &demand(3, 2, 40_000, &["red", "green", "blue"]), "4xa100-80gb");
        draw("4-300", &demand(300, 2, 60_000, &ODD_NAMES), "4xa100-80gb");
        draw("4-odd", &demand(12, 2, 45_000, &ODD_NAMES), "4xa100-80gb");
    }

    #[test]
    fn sixty_four_gpus() {
        draw("64-3", &demand(3, 9, 40_000, &["red", "green", "blue"]), "64xa100-80gb");
        draw("64-300", &demand(300, 3, 60_000, &ODD_NAMES), "64xa100-80gb");
        let mixed = "20xa100-80gb,20xh200,14xa30,10xrtx-pro-6000-blackwell-server-96gb";
        draw("64-mixed", &demand(300, 2, 90_000, &ODD_NAMES), mixed);
    }

    #[test]
    fn four_thousand_gpus() {
        draw("4000-3", &demand(3, 9_000, 40_000, &["red", "green", "blue"]), "4000xa100-80gb");
        draw("4000-300", &demand(300, 90, 60_000, &ODD_NAMES), "4000xa100-80gb");
    }

    #[test]
    fn nothing_and_everything_placed() {
        let too_large = Workload::new("a", "huge", Mebibytes(400_000), 3);
        draw("nothing-placed", &Demand::new(vec![too_large]), "4xa100-80gb");
        draw("nothing-asked", &Demand::new(Vec::new()), "4xa100-80gb");
        let mut whole = Workload::new("b", "whole", Mebibytes(100_000), 1);
        whole.whole_gpus = 2;
        let small = Workload::new("a", "small", Mebibytes(9_728), 14);
        draw("everything-placed", &Demand::new(vec![small, whole]), "4xa100-80gb");
        let mut weighed = Workload::new("a", "weighed", Mebibytes(30_000), 9);
        weighed.weight = crate::units::Weight(1_500_000);
        draw("weighed", &Demand::new(vec![weighed]), "2xa100-80gb");
    }

    #[test]
    fn usage_over_time() {
        let wave = |phase: f64, top: f64| -> Vec<(f64, f64)> {
            let at = |i: i32| {
                let hours = f64::from(i) / 12.0;
                let load = ((hours / 24.0 + phase) * std::f64::consts::TAU).sin() * 0.4 + 0.6;
                (1_700_000_000.0 + hours * 3600.0, top * load)
            };
            (0..7 * 288).map(at).collect()
        };
        let panel = |label: &str, top: f64| UsagePanel {
            label: label.to_string(),
            workload: label.rsplit('/').next().unwrap().to_string(),
            most: vec![wave(top / 9.0, top)],
            planned_gib: top * 0.98,
            instance: Some(("2g.20gb".to_string(), 19.5)),
            unplaced: 0,
        };
        let mut panels = vec![
            panel("research/finetune", 17.0),
            panel("研究チーム/notebooks", 8.0),
            UsagePanel { instance: None, ..panel("a/without-instance", 3.0) },
            UsagePanel { most: Vec::new(), ..panel("a/without-samples", 3.0) },
            UsagePanel { most: vec![vec![(1.7e9, 2.0)]], ..panel("a/one-sample", 3.0) },
            UsagePanel { planned_gib: 19.4, ..panel("a/close-labels", 19.0) },
            UsagePanel { instance: None, unplaced: 3, ..panel("a/unplaced", 3.0) },
            UsagePanel { planned_gib: 19.4, unplaced: 1, ..panel("a/partly-unplaced", 19.0) },
        ];
        let usage = |panels: Vec<UsagePanel>| Usage {
            title: "What the workloads used".to_string(),
            subtitle: "Seven days, every five minutes.".to_string(),
            panels,
        };
        look("usage", &usage(panels.clone()).picture());
        // Two hours of use, a night without, and one sample more: no line leads over the night.
        let gap = vec![wave(1.0, 9.0)[..24].to_vec(), vec![wave(1.0, 9.0)[200]]];
        let with_gap = UsagePanel { most: gap, instance: None, ..panel("a/with-a-gap", 9.0) };
        let whole = wave(1.0, 9.0)[..201].to_vec();
        let without = UsagePanel { most: vec![whole], ..with_gap.clone() };
        let lines =
            |panel| picture::checks::longest_line(&usage(vec![panel]).picture(), palette::BLUE);
        assert!(lines(with_gap) < 0.2 * lines(without));
        panels.extend((0..20).map(|i| panel(&format!("team/{i}"), 5.0)));
        look("usage-many", &usage(panels).picture());
    }

    #[test]
    fn names_are_escaped_and_equal_figures_give_equal_bytes() {
        let demand = demand(12, 2, 45_000, &ODD_NAMES);
        let plan =
            optimise::suggest(&demand, &fleet("4xa100-80gb"), &PlanOptions::default()).unwrap();
        let svg = || DemandFigure::new(&plan, &demand).picture().svg(Theme::Light);
        assert!(svg().contains("&lt;b&gt;&amp;&quot;quote&quot;&apos;&lt;/b&gt;"));
        assert!(!svg().contains("<b>"));
        assert_eq!(svg(), svg());
    }
}
