//! `migplan chart` and `--report`: golden pictures, odd names, a page in a real browser.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it pictures::` writes the golden pictures anew; look at them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{migplan, migplan_with, root, tools};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn example() -> String {
    root("examples/teams.csv").display().to_string()
}

/// Runs `chart` into a folder of the test's own and returns the file.
fn chart(folder: &Path, name: &str, args: &[&str]) -> Vec<u8> {
    let file = folder.join(name);
    let run = migplan(&[&["chart", "-o", file.to_str().unwrap()], args].concat());
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    assert!(run.stdout.is_empty());
    fs::read(file).unwrap()
}

/// Compares a picture with the one that was looked at.
fn is_golden(svg: &str, name: &str) {
    roxmltree::Document::parse(svg).unwrap();
    let golden = root("tests/golden/chart").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, svg).unwrap();
    }
    let same = svg == fs::read_to_string(&golden).unwrap_or_default();
    assert!(same, "{} differs", golden.display());
}

#[test]
fn first_fit_loses_where_the_example_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let workloads = root("examples/first-fit-loses.csv").display().to_string();
    let args = ["-w", &workloads, "--gpus", "4xa100-80gb", "--size", "16:9"];
    let svg = String::from_utf8(chart(folder.path(), "a.svg", &args)).unwrap();
    is_golden(&svg, "first-fit-loses-slide.svg");
    let said = texts(&svg);
    assert_eq!(said[0], "18 of 18 replicas fit; the best preset fits 16 and leaves 58 GiB idle");
    let first_fit = said.iter().position(|t| t == "first-fit-decreasing").unwrap();
    assert!(said[first_fit..].iter().any(|t| t == "17 of 18"), "{said:?}");
}

#[test]
fn pictures_are_golden_from_flags_and_from_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.json");
    let plan = plan.to_str().unwrap();
    let inputs = ["-w", &example(), "--gpus", "4xa100-80gb"];
    let run = migplan(&[&["-q", "suggest", "--plan", plan][..], &inputs].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let pictures: [(&str, &[&str]); 4] = [
        ("fit-idle", &[]),
        ("slide", &["--size", "16:9"]),
        ("slices", &["--kind", "slices"]),
        ("demand", &["--kind", "demand"]),
    ];
    for (kind, kind_args) in pictures {
        let svg = chart(folder.path(), "a.svg", &[kind_args, &inputs].concat());
        let text = String::from_utf8(svg).unwrap();
        is_golden(&text, &format!("example-{kind}.svg"));
        let from_plan = chart(folder.path(), "b.svg", &[kind_args, &["--plan", plan]].concat());
        assert!(text.as_bytes() == from_plan, "{kind}: flags and plan give different pictures");
    }
}

/// The texts of an SVG file, in drawing order.
fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let texts = document.descendants().filter(|n| n.has_tag_name("text"));
    texts.filter_map(|n| n.text()).map(str::to_string).collect()
}

#[test]
fn a_slide_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = ["-w", &example(), "--gpus", "4xa100-80gb", "--size", "16:9"];
    let slide = |more: &[&str]| {
        let svg = chart(folder.path(), "a.svg", &[&inputs[..], more].concat());
        String::from_utf8(svg).unwrap()
    };
    let light = slide(&[]);
    assert!(light.contains("width=\"1280\" height=\"720\""));
    let said = texts(&light);
    let finding = "17 of 17 replicas fit; the best preset fits 16 and leaves 72 GiB idle";
    assert!(said.join(" ").starts_with(finding), "{said:?}");
    for way in ["plan", "all-balanced", "all-1g.20gb", "first-fit-decreasing", "whole-gpus"] {
        assert!(said.iter().any(|t| t == way), "{way}: {said:?}");
    }
    for idle in ["64 GiB idle", "72 GiB idle"] {
        assert!(said.iter().any(|t| t == idle), "{idle}: {said:?}");
    }
    let dark = slide(&["--theme", "dark"]);
    assert!(dark.contains("fill=\"#16181b\"") && !light.contains("#16181b"));
    assert_eq!(texts(&dark), said, "a theme changes colours only");
    assert_eq!(texts(&slide(&["--title", "Ours & <theirs>"]))[0], "Ours & <theirs>");
}

#[test]
fn the_best_preset_of_a_finding_is_what_the_comparison_says() {
    // The preset that places most serves none of the high priority, which the plan puts first.
    let csv = "team,workload,memory_gib,count,priority\na,big,70,2,10\nb,small,9,14,0\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.csv");
    fs::write(&file, csv).unwrap();
    let inputs = ["-w", file.to_str().unwrap(), "--gpus", "2xa100-80gb"];
    let rows = json(&migplan(&[&["compare", "--format", "json"], &inputs[..]].concat()).stdout);
    let presets = || {
        let rows = rows["rows"].as_array().unwrap().iter();
        rows.filter(|r| r["name"].as_str().unwrap().starts_with("all-"))
    };
    let most = presets().map(|r| r["placed"].as_u64().unwrap()).max().unwrap();
    assert_eq!(most, 14);
    let svg = chart(folder.path(), "a.svg", &inputs);
    let said = texts(&String::from_utf8(svg).unwrap()).join(" ");
    let finding =
        "2 of 16 replicas fit, 2 of priority 10; the best preset fits 14, but 0 of priority 10";
    assert!(said.starts_with(finding), "{said}");
}

#[test]
fn colours_of_the_slices_answer_what_is_asked() {
    // Twenty teams alike: by team most would be grey, so the colours say how full instances are.
    let rows: Vec<String> = (0..20).map(|i| format!("team-{i:02},w,{},2\n", 5 + i % 5)).collect();
    let csv = format!("team,workload,memory_gib,count\n{}", rows.concat());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.csv");
    fs::write(&file, csv).unwrap();
    let inputs = ["--kind", "slices", "-w", file.to_str().unwrap(), "--gpus", "6xa100-80gb"];
    let slices = |more: &[&str]| {
        let svg = chart(folder.path(), "a.svg", &[&inputs[..], more].concat());
        texts(&String::from_utf8(svg).unwrap())
    };
    let says = |texts: &[String], start: &str| texts.iter().any(|t| t.starts_with(start));
    assert!(says(&slices(&[]), "90 to 100 % of the instance needed"));
    assert!(says(&slices(&["--color-by", "team"]), "13 further teams"));
    assert!(says(&slices(&["--color-by", "priority"]), "priority 0 (280 GiB)"));
    let one = slices(&["--highlight", "team-07"]);
    assert!(says(&one, "team-07 (14 GiB)") && says(&one, "other teams"), "{one:?}");
    let few = chart(
        folder.path(),
        "a.svg",
        &["-w", &example(), "--gpus", "4xa100-80gb", "--kind", "slices"],
    );
    assert!(says(&texts(&String::from_utf8(few).unwrap()), "research ("));
    let run = migplan(&[&["chart", "-o", "-", "--highlight", "tem-07"], &inputs[..]].concat());
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("hint: did you mean 'team-07'?"), "{}", run.stderr);
}

/// Pictures of workloads in a CSV, as the texts on them.
fn texts_of(folder: &Path, csv: &str, args: &[&str]) -> Vec<String> {
    let file = folder.join("w.csv");
    fs::write(&file, csv).unwrap();
    let inputs = ["-w", file.to_str().unwrap()];
    texts(&String::from_utf8(chart(folder, "a.svg", &[&inputs[..], args].concat())).unwrap())
}

#[test]
fn the_whole_demand_is_one_number_also_where_some_of_it_fits_no_instance() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "team,workload,memory_gib,count\na,small,9,9\na,huge,120,1\n";
    let gpus = ["--gpus", "1xa100-80gb"];
    let page = texts_of(folder.path(), csv, &gpus);
    let said = page.join(" ");
    assert!(said.starts_with("7 of 10 replicas fit"), "{said}");
    assert!(said.contains("the whole demand: 10") && said.contains("7 of 10"), "{said}");
    assert!(!said.contains("of 9"), "{said}");
    assert!(
        said.contains("1 workload that no instance can hold is unplaced in every way."),
        "{said}"
    );
    let slide = texts_of(folder.path(), csv, &[&gpus[..], &["--size", "16:9"]].concat());
    assert!(slide.contains(&"7 of 10".to_string()), "{slide:?}");
}

#[test]
fn weights_are_told_alike_however_small_or_large() {
    let folder = tempfile::tempdir().unwrap();
    let gpus = ["--gpus", "1xa100-80gb"];
    for (small, large, best, all) in [
        ("0.001", "0.002", "0.003", "0.007"),
        ("0.05", "0.25", "0.25", "0.65"),
        ("0.000001", "0.000002", "0.000003", "0.000007"),
        ("400000.5", "1000000", "1,200,001.5", "3,200,001.5"),
    ] {
        let csv =
            format!("team,workload,memory,count,weight\na,x,5GiB,3,{small}\nb,y,50GiB,2,{large}\n");
        let of = format!("{best} of {all}");
        let page = texts_of(folder.path(), &csv, &gpus);
        assert!(page[0].contains(&format!("(weight {of})")), "{page:?}");
        assert!(page.contains(&of), "{of}: {page:?}");
        assert!(page.iter().any(|t| t.ends_with(&format!("the whole demand: {all}"))), "{page:?}");
        // The axis has numbers of that size, none of them twice.
        let axis = page.iter().position(|t| t == "weight placed").unwrap();
        let is_small = |t: &&String| t.parse().is_ok_and(|n: f64| n > 0.0 && n < 0.9);
        let numbers: Vec<&String> = page[..axis].iter().filter(is_small).collect();
        let distinct: std::collections::BTreeSet<&&String> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len(), "{page:?}");
        assert!(numbers.len() > 2 || !all.starts_with('0'), "{page:?}");
        let slide = texts_of(folder.path(), &csv, &[&gpus[..], &["--size", "16:9"]].concat());
        assert!(slide.contains(&format!("weight {of}")), "{slide:?}");
        let file = folder.path().join("w.csv");
        let (file, page) = (file.to_str().unwrap(), folder.path().join("r.html"));
        fs::write(file, &csv).unwrap();
        let args = ["compare", "-w", file, "--report", page.to_str().unwrap()];
        let run = migplan(&[&args[..], &gpus].concat());
        assert!(run.stdout.contains(&format!(" {best} ")), "{}", run.stdout);
        assert!(run.stdout.contains(&format!("of {all}, the plan {best}")), "{}", run.stdout);
        let report = fs::read_to_string(page).unwrap();
        assert!(report.contains(&format!(">{best}</td>")) && report.contains(&of));
    }
}

#[test]
fn a_priority_that_no_instance_can_hold_counts_in_the_whole_demand() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "team,workload,memory,count,priority\na,huge,300GiB,3,5\nb,a,30GiB,3,0\n";
    let gpus = ["--gpus", "2xa100-80gb"];
    let said = texts_of(folder.path(), csv, &gpus).join(" ");
    assert!(said.starts_with("3 of 6 replicas fit"), "{said}");
    assert!(said.contains("the whole demand: 6") && !said.contains("3 of 3 "), "{said}");
    let csv = "team,workload,memory,count\na,huge,300GiB,5\n";
    let said = texts_of(folder.path(), csv, &gpus).join(" ");
    assert!(said.starts_with("None of 5 replicas fits these GPUs"), "{said}");
    assert!(said.contains("0 of 5") && !said.contains("0 of 0"), "{said}");
    // All ways are alike, so the axis of idle memory begins at 0.
    assert!(said.contains(" 150 ") && !said.contains("160.2"), "{said}");
}

#[test]
fn what_no_instance_suffices_for_is_not_called_large() {
    let folder = tempfile::tempdir().unwrap();
    // The A30 has no instance of seven compute slices, and all-1g.20gb none of four.
    let csv =
        "team,workload,memory,count,compute,boards\na,slices,5GiB,1,7,a30\na,four,5GiB,1,4,\n";
    let gpus = ["--gpus", "1xa30,1xa100-80gb"];
    let said = texts_of(folder.path(), csv, &gpus).join(" ");
    assert!(said.contains("a/four (5 GiB, no instance suffices)"), "{said}");
    let said = texts_of(folder.path(), csv, &[&gpus[..], &["--kind", "demand"]].concat()).join(" ");
    assert!(said.contains("1 unplaced: no instance suffices"), "{said}");
}

#[test]
fn a_finding_ranks_by_weight_where_there_are_weights() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "team,workload,memory,count,weight\na,big,38GiB,2,10\nb,small,8GiB,7,1\n";
    let said = texts_of(folder.path(), csv, &["--gpus", "1xa100-80gb"]).join(" ");
    let finding =
        "2 of 9 replicas fit (weight 20 of 27) on 1 GPU, as they do under the best preset";
    assert!(said.starts_with(finding), "{said}");
    let said = texts_of(folder.path(), csv, &["--gpus", "2xa100-80gb"]).join(" ");
    let finding = "9 of 9 replicas fit (weight 27 of 27); the best preset fits 8 (weight 26)";
    assert!(said.starts_with(finding), "{said}");
}

#[test]
fn long_names_of_teams_and_small_memory_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let team = "Recommendation and Personalisation";
    let csv = format!("team,workload,memory_gib\n{team},train,9\n{team},serve,8\nops,tiny,0.5\n");
    let gpus = ["--gpus", "1xa100-80gb", "--kind"];
    let demand = texts_of(folder.path(), &csv, &[&gpus[..], &["demand"]].concat());
    for name in ["Recommendation and Personalisation/train", "ops/tiny"] {
        assert!(demand.contains(&name.to_string()), "{name}: {demand:?}");
    }
    let slices = texts_of(folder.path(), &csv, &[&gpus[..], &["slices"]].concat());
    assert!(slices.contains(&"ops (0.5 GiB)".to_string()), "{slices:?}");
}

#[test]
fn long_names_that_begin_alike_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (team, workload) = ("an-organisation-with-departments", "training-of-a-language-model");
    let row = |i: usize| {
        format!("{team}-of-research-and-development-{},{workload}-for-translation-{i},9,9\n", i % 4)
    };
    let rows: Vec<String> = (0..12).map(row).collect();
    let csv = format!("team,workload,memory_gib,count\n{}", rows.concat());
    let gpus = ["--gpus", "16xa100-80gb", "--kind"];
    // By their first letters: labels of the picture of the demand, and teams of a legend.
    let of = |kind: &str, start: &str| {
        let said = texts_of(folder.path(), &csv, &[&gpus[..], &[kind]].concat());
        let labels: Vec<String> = said.into_iter().filter(|t| t.starts_with(start)).collect();
        let different: std::collections::BTreeSet<&String> = labels.iter().collect();
        assert_eq!(different.len(), labels.len(), "{labels:?}");
        labels
    };
    let demand = of("demand", "an-org");
    assert_eq!(demand.len(), 12, "{demand:?}");
    assert!(demand.iter().all(|label| label.contains("/training")), "{demand:?}");
    let legend_start = "an-organisation-with";
    let said = texts_of(folder.path(), &csv, &[&gpus[..], &["slices"]].concat());
    let legend: std::collections::BTreeSet<&String> =
        said.iter().filter(|t| t.starts_with(legend_start) && t.ends_with("GiB)")).collect();
    assert_eq!(legend.len(), 4, "{said:?}");
}

/// The plan's file of the example of demand over time.
fn plan_over_time(folder: &Path) -> String {
    let workloads = root("examples/week/week.csv").display().to_string();
    let plan = folder.join("week.json").display().to_string();
    let inputs = ["-q", "suggest", "-w", &workloads, "--gpus", "2xa100-80gb", "--over-time"];
    let zone = ["--timezone", "Europe/Berlin", "--plan", &plan, "-o", "/dev/null"];
    let run = migplan(&[&inputs[..], &zone].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    plan
}

#[test]
fn a_picture_of_a_plan_over_time_names_its_hour_and_compares_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan_over_time(folder.path());
    // The demand of all hours beside the replicas of one would say "9 of 5".
    for size in ["page", "16:9"] {
        let run = migplan(&["chart", "--plan", &plan, "--size", size, "-o", "-"]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
        assert!(run.stderr.contains("week.json is a plan over time"), "{}", run.stderr);
        assert!(
            run.stderr.contains("hint: `migplan replay --plan FILE --chart FILE`"),
            "{}",
            run.stderr
        );
    }
    let read = json(&fs::read_to_string(&plan).unwrap());
    let hour = read["over_time"]["shown"].as_str().unwrap();
    for kind in ["slices", "demand"] {
        let said = texts(
            &String::from_utf8(chart(folder.path(), "a.svg", &["--plan", &plan, "--kind", kind]))
                .unwrap(),
        );
        let said = said.join(" ");
        let named = format!("One hour of a plan over time, {hour} (Europe/Berlin); no other");
        assert!(said.contains(&named), "{kind}: {said}");
    }
}

#[test]
fn a_png_warns_of_characters_that_its_font_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.csv");
    let draw = |team: &str, picture: &str| {
        fs::write(&file, format!("team,workload,memory_gib\n{team},w,9\n")).unwrap();
        let picture = folder.path().join(picture).display().to_string();
        let inputs = ["-w", file.to_str().unwrap(), "--gpus", "1xa100-80gb"];
        let run = migplan(&[&["chart", "--kind", "demand", "-o", &picture], &inputs[..]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stderr
    };
    let warned = draw("研究研究", "a.png");
    assert!(
        warned.contains("a.png: shows boxes for 2 characters that the font of a PNG lacks (研究)"),
        "{warned}"
    );
    assert_eq!(warned.matches("warning").count(), 1, "{warned}");
    assert!(!draw("研究研究", "a.svg").contains("font"));
    assert!(!draw("команда", "a.png").contains("font"));
}

#[test]
fn a_demand_that_is_far_away_does_not_stretch_the_axis() {
    let folder = tempfile::tempdir().unwrap();
    let heights = |count: u64| {
        let csv = format!("team,workload,memory_gib,count\na,small,9,{count}\n");
        let file = folder.path().join("w.csv");
        fs::write(&file, csv).unwrap();
        let inputs = ["-w", file.to_str().unwrap(), "--gpus", "2xa100-80gb"];
        let svg = String::from_utf8(chart(folder.path(), "a.svg", &inputs)).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let text = |start: &str| {
            let found = document
                .descendants()
                .find(|n| n.has_tag_name("text") && n.text().is_some_and(|t| t.starts_with(start)));
            found.map(|n| n.attribute("y").unwrap().parse::<f64>().unwrap())
        };
        (text("the whole demand"), text("↑ above this axis: the whole demand: "), text("0"))
    };
    let (near, above, _) = heights(20);
    assert!(near.is_some() && above.is_none());
    let (near, above, foot) = heights(2_000);
    assert!(near.is_none(), "a line stands at the demand");
    assert!(above.unwrap() < foot.unwrap() - 250.0, "the note is at the top edge");
}

#[test]
fn many_boards_are_a_number_on_a_slide() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "team,workload,memory_gib,count\na,small,4,9\n";
    let slide =
        |gpus: &str| texts_of(folder.path(), csv, &["--gpus", gpus, "--size", "16:9"]).join(" ");
    let few = slide("1xa30,2xh200");
    assert!(few.contains("1 × a30-24gb, 2 × h200-sxm-141gb, 304.8 GiB of memory"), "{few}");
    let many = slide("1xa30,2xh200,1xa100-80gb,1xa100-40gb,1xh100-pcie");
    assert!(many.contains("1 team on 6 GPUs of 5 boards, "), "{many}");
    assert!(many.contains("GiB of memory"), "{many}");
}

#[test]
fn a_replay_says_the_same_share_in_text_and_picture() {
    let folder = tempfile::tempdir().unwrap();
    let [workloads, config, picture] = ["w.csv", "config.yaml", "r.svg"]
        .map(|name| folder.path().join(name).display().to_string());
    fs::write(&workloads, "team,workload,gpus,count\na,whole,1,3\n").unwrap();
    let whole =
        "version: v1\nmig-configs:\n  plain:\n    - devices: all\n      mig-enabled: false\n";
    fs::write(&config, whole).unwrap();
    let run = migplan(&[
        "replay",
        "-w",
        &workloads,
        "--gpus",
        "2xa100-80gb",
        "-f",
        &config,
        "--chart",
        &picture,
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("66.6 %"), "{}", run.stdout);
    let said = texts(&fs::read_to_string(&picture).unwrap());
    assert!(said.contains(&"plain, bound: 66.6 % served".to_string()), "{said:?}");
    let panel = "whole GPU: 2 instances, at most 3 asked for".to_string();
    assert!(said.contains(&panel), "{said:?}");
}

#[test]
fn names_survive_in_every_picture() {
    let csv = "team,workload,memory_gib,count\n<b>&\"x\"'</b>,研究,30,2\nкоманда,ομάδα,50,9\n";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), csv).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for kind in ["fit-idle", "slices", "demand"] {
        let inputs = ["--kind", kind, "-w", file.path().to_str().unwrap(), "--gpus", "2xa100-80gb"];
        let text = String::from_utf8(chart(folder.path(), "a.svg", &inputs)).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let said: String = document.descendants().filter_map(|n| n.text()).collect();
        assert!(said.contains("команда") && said.contains("<b>&\"x\"'</b>"), "{kind}");
        assert!(!document.descendants().any(|n| n.has_tag_name("b")));
        let png = chart(folder.path(), "a.png", &inputs);
        let mut reader = png::Decoder::new(png.as_slice()).read_info().unwrap();
        assert_eq!(reader.info().width, 1920);
        let mut pixels = vec![0; reader.output_buffer_size()];
        reader.next_frame(&mut pixels).unwrap();
        assert!(pixels.iter().any(|p| *p < 100), "{kind}: an empty page");
    }
}

#[test]
fn wrong_usage_of_chart() {
    let inputs = ["-w", &example(), "--gpus", "4xa100-80gb"];
    let with = |args: &[&str]| migplan(&[&["chart"], args].concat());
    assert_eq!(with(&[&["-o", "x.gif"][..], &inputs].concat()).code, 2);
    assert_eq!(with(&["-o", "x.svg"]).code, 2);
    assert_eq!(with(&[&["-o", "x.svg", "--plan", "p.json"][..], &inputs].concat()).code, 2);
    let run = with(&["-o", "/no/such/folder/x.svg", "--plan", "p.json"]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("there is no folder"), "{}", run.stderr);
    for wrong in [
        &["--kind", "slices", "--size", "16:9"][..],
        &["--title", "x"],
        &["--color-by", "need"],
        &["--kind", "slices", "--color-by", "need", "--highlight", "research"],
    ] {
        let run = with(&[&["-o", "-"][..], &inputs, wrong].concat());
        assert_eq!(run.code, 2, "{wrong:?}: {}", run.stderr);
    }
    let run = with(&["-o", "-", "--plan", "/no/such/plan.json"]);
    assert_eq!(run.code, 3);
    let run = migplan_with(&["chart", "-o", "-", "--plan", "-"], b"");
    assert_eq!(run.code, 3, "{}", run.stderr);
    // A plan without its demand can be drawn, but not compared.
    let plan = migplan(&[&["-q", "suggest", "--format", "json"][..], &inputs].concat()).stdout;
    let mut bare = json(&plan);
    bare.as_object_mut().unwrap().remove("demand");
    let bare = bare.to_string();
    let run = migplan_with(&["chart", "-o", "-", "--plan", "-"], bare.as_bytes());
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("hint: make the plan anew"), "{}", run.stderr);
    for kind in ["slices", "demand"] {
        let args = ["chart", "-o", "-", "--plan", "-", "--kind", kind];
        let run = migplan_with(&args, bare.as_bytes());
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.starts_with("<svg "));
    }
}

#[test]
fn use_over_time_comes_from_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let samples = root("data/prometheus/api_query_range_matrix.json").display().to_string();
    let inputs = ["--kind", "usage", "--prometheus", &samples];
    let with_gpus = [&inputs[..], &["--gpus", "4xa100-80gb"]].concat();
    let text = |args: &[&str]| String::from_utf8(chart(folder.path(), "a.svg", args)).unwrap();
    let (alone, planned) = (text(&inputs), text(&with_gpus));
    for svg in [&alone, &planned] {
        let document = roxmltree::Document::parse(svg).unwrap();
        let said: Vec<&str> =
            document.descendants().filter_map(|n| n.text()).map(str::trim).collect();
        assert!(said.iter().any(|t| t.starts_with("planned: ")), "{said:?}");
        assert!(said.iter().any(|t| t.ends_with("UTC")), "{said:?}");
    }
    assert!(planned.contains("1g.10gb: 9.5 GiB") && !alone.contains("1g.10gb: "), "{planned}");
    // The legend has what is drawn.
    let instance = "usable memory of the instance";
    assert!(planned.contains(instance) && !alone.contains(instance));
    let too_small = text(&[&inputs[..], &["--gpus", "1xa30", "--headroom", "900%"]].concat());
    let unplaced = |svg: &str| texts(svg).iter().any(|t| t == "unplaced");
    assert!(unplaced(&too_small) && !unplaced(&planned) && !unplaced(&alone), "{too_small}");
    let instant = root("data/prometheus/e2e_scrape_text.prom").display().to_string();
    let no_times = text(&["--kind", "usage", "--prometheus", &instant]);
    let used = "the most that any replica used";
    assert!(planned.contains(used) && !no_times.contains(used), "{no_times}");
    let run = migplan(&["chart", "--kind", "usage", "-o", "-", "-w", &example()]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("hint: name a file with --prometheus"), "{}", run.stderr);
}

/// Debian's chromium, or a word that it is not there.
fn chromium() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success())
    });
    if found.is_none() {
        tools::skip("no chromium here (Debian: apt-get install chromium)");
    }
    found
}

/// Runs the browser on a page, in a profile of its own.
fn browse(browser: &str, page: &Path, args: &[&str]) -> Vec<u8> {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-quic",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(args)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The page after its own scripts and then `script` ran, as a browser of that width writes it.
fn dom(browser: &str, page: &Path, script: &str, width: u32) -> String {
    let text = fs::read_to_string(page).unwrap();
    let with = page.with_extension("driven.html");
    fs::write(&with, text.replace("</body>", &format!("<script>{script}</script></body>")))
        .unwrap();
    let size = format!("--window-size={width},900");
    String::from_utf8(browse(browser, &with, &["--dump-dom", &size])).unwrap()
}

/// The report on some teams, one of them with an evil name and one unplaced.
fn report(folder: &Path, command: &str) -> PathBuf {
    let workloads = folder.join("teams.csv");
    let evil = "<img src=x onerror=document.title='broken'>";
    let csv = format!(
        "team,workload,memory_gib,count\nmiddle,m,20,5\nzebra,z,9,2\nalpha,{evil},5,11\nbig,none,90,1\n"
    );
    fs::write(&workloads, csv).unwrap();
    let page = folder.join("report.html");
    let run = migplan(&[
        "-q",
        command,
        "-w",
        workloads.to_str().unwrap(),
        "--gpus",
        "4xa100-80gb",
        "--report",
        page.to_str().unwrap(),
    ]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    page
}

#[test]
fn the_report_holds_everything_and_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["suggest", "compare"] {
        let text = fs::read_to_string(report(folder.path(), command)).unwrap();
        for address in
            text.match_indices("http").map(|(at, _)| &text[at..(at + 40).min(text.len())])
        {
            assert!(address.starts_with("http-equiv"), "the page fetches {address}");
        }
        assert!(!text.contains("<img"), "a name became an element");
        for part in ["<svg ", "version: v1", "nvidia-mig-parted apply", "migplan apply -f"] {
            assert!(text.contains(part), "{part} is missing");
        }
        assert!(text.contains("needs 92160 MiB; the largest instance here"), "no reason");
        assert!(text.contains("<h1>17 of 19 replicas fit"), "no finding");
    }
}

#[test]
fn the_report_applies_to_each_node_its_own_label() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let report = |fleet: String, rest: &[&str]| {
        fs::write(file("f.csv"), format!("node,board,gpus\n{fleet}")).unwrap();
        fs::write(file("w.csv"), "team,workload,memory,count\na,x,38GiB,3\nb,y,5GiB,5\n").unwrap();
        let (workloads, fleet, page) = (file("w.csv"), file("f.csv"), file("r.html"));
        let args = ["-q", "suggest", "-w", &workloads, "--fleet", &fleet, "--report", &page];
        let run = migplan(&[&args[..], rest].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        fs::read_to_string(page).unwrap()
    };
    let single = ["--strategy", "single"];
    let page = report("n1,a100-80gb,4\nn2,a100-80gb,4\n".to_string(), &single);
    for (node, label) in [("n1", "migplan-1"), ("n2", "migplan-2")] {
        let row =
            format!("<td>{label}</td><td class=\"number\" data-v=\"1\">1</td><td>{node}</td>");
        assert!(page.contains(&row), "{row}");
        assert!(page.contains(&format!("kubectl label node {node} nvidia.com/mig.config={label}")));
    }
    // No command that works as it is, whatever the node.
    assert!(page.contains("apply -f config.yaml -c LABEL\n"));
    assert!(!page.contains("-c migplan"), "a command with one node's label");
    // One label needs no table.
    let page = report("n1,a100-80gb,4\n".to_string(), &[]);
    assert!(page.contains("apply -f config.yaml -c migplan\n") && !page.contains("which label"));
    // Many nodes are grouped, and where all of them are listed is said.
    let fleet = (0..1000).map(|n| format!("n{n},a100-80gb,1\n")).collect();
    let page = report(fleet, &[]);
    assert!(page.contains("migplan suggest --assignments FILE lists all 1,000 nodes."));
    assert!(page.contains("# … and 950 further nodes: `migplan emit labels` labels all of them."));
    assert!(page.matches("kubectl label node").count() == 50);
}

#[test]
fn tables_of_the_report_sort_and_its_file_can_be_copied() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = report(folder.path(), "suggest");
    // A click on a column's head sorts by it, a second one the other way round.
    let clicks = "
        const table = [...document.querySelectorAll('h2')].find(h => h.textContent === 'Teams').parentNode.querySelector('table');
        const order = column => [...table.tBodies[0].rows].map(r => r.cells[column].textContent).join('|');
        const head = n => table.querySelectorAll('th button')[n];
        head(1).click(); document.body.dataset.up = order(1);
        head(1).click(); document.body.dataset.down = order(1);
        head(0).click(); document.body.dataset.names = order(0);
        document.querySelector('.copy').click(); document.body.dataset.copied = String(getSelection()).slice(0, 40);";
    let shown = dom(browser, &page, clicks, 1200);
    assert!(shown.contains("<title>17 of 19 replicas fit"), "the title was changed by a name");
    for expected in [
        "data-up=\"1|2|5|11\"",
        "data-down=\"11|5|2|1\"",
        "data-names=\"alpha|big|middle|zebra\"",
        "data-copied=\"# Made by migplan",
    ] {
        assert!(shown.contains(expected), "{expected} is missing");
    }
}

#[test]
fn a_team_is_found_through_all_pictures_and_tables() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = report(folder.path(), "suggest");
    let search = "
        const data = document.body.dataset, team = document.getElementById('team');
        const type = text => { team.value = text; team.dispatchEvent(new Event('input')); };
        const rows = () => [...document.querySelectorAll('tr[data-teams]')].filter(r => !r.hidden);
        const hits = () => [...document.querySelectorAll('.shown .wide g.hit title')].map(t => t.textContent);
        type('ZEB');
        data.found = document.getElementById('found').textContent;
        data.rows = rows().every(r => r.textContent.includes('zebra')) + ' ' + (rows().length >= 2);
        data.marks = hits().every(t => t.includes('zebra')) + ' ' + (hits().length >= 2);
        data.dimmed = getComputedStyle(document.querySelector('g[data-teams]:not(.hit)')).opacity;
        type('nobody'); data.none = document.getElementById('found').textContent;
        type(''); data.all = rows().length > 5 && !document.body.classList.contains('picked');
        [...document.querySelectorAll('button.team')].find(b => b.textContent === 'middle').click();
        data.clicked = team.value;
        const marks = [...document.querySelectorAll('.shown .wide [role=graphics-symbol]')];
        const key = name => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: name, bubbles: true, cancelable: true}));
        marks[0].focus(); key('ArrowRight');
        data.second = document.activeElement === marks[1];
        data.tip = document.getElementById('tip').textContent === marks[1].querySelector('title').textContent;
        data.stops = marks.filter(m => m.getAttribute('tabindex') === '0').length;
        data.pictures = document.querySelectorAll('.shown .wide').length;";
    let shown = dom(browser, &page, search, 1200);
    for expected in [
        "data-found=\"zebra: 2 of 2 replicas placed, 18 GiB of memory; placed by all-balanced 2, ",
        "data-rows=\"true true\"",
        "data-marks=\"true true\"",
        "data-dimmed=\"0.13\"",
        "data-none=\"no such team\"",
        "data-all=\"true\"",
        "data-clicked=\"middle\"",
        "data-second=\"true\"",
        "data-tip=\"true\"",
        "data-stops=\"3\"",
        "data-pictures=\"3\"",
    ] {
        let body = shown.split("<body").nth(1).unwrap_or_default();
        let body = body.split('>').next().unwrap_or_default();
        assert!(shown.contains(expected), "{expected} is missing: {body}");
    }
}

#[test]
fn the_report_fits_a_telephone() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let page = report(folder.path(), "suggest");
    // A page in a frame of 390 pixels, since a window may have a least width of its own.
    let framed = folder.path().join("framed.html");
    let frame = format!("<iframe id=f style='width:390px;height:800px;border:0' src='{}'></iframe>
        <script>document.getElementById('f').onload = e => {{
          const d = e.target.contentDocument, wide = [...d.querySelectorAll('main *')].filter(x => x.getBoundingClientRect().right > 390.5 && !x.closest('pre'));
          document.body.dataset.fits = d.documentElement.scrollWidth <= d.documentElement.clientWidth;
          document.body.dataset.wide = wide.length + ' ' + (wide[0] ? wide[0].outerHTML.slice(0, 99) : '');
          document.body.dataset.narrow = d.querySelectorAll('.narrow svg').length > 0 && getComputedStyle(d.querySelector('.narrow')).display;
        }}</script>", page.file_name().unwrap().to_str().unwrap());
    fs::write(&framed, frame).unwrap();
    let args = ["--dump-dom", "--allow-file-access-from-files", "--virtual-time-budget=3000"];
    let shown = String::from_utf8(browse(browser, &framed, &args)).unwrap();
    for expected in ["data-fits=\"true\"", "data-wide=\"0 \"", "data-narrow=\"block\""] {
        assert!(
            shown.contains(expected),
            "{expected} is missing: {}",
            &shown[..shown.len().min(600)]
        );
    }
}

#[test]
fn the_comparison_of_three_priorities_fits_a_screen() {
    let Some(browser) = chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (workloads, page) = (folder.path().join("w.csv"), folder.path().join("report.html"));
    let csv = "team,workload,memory_gib,count,priority\na,one,9,1200,10\nb,two,18,90,5\n\
        c,three,38,1100,0\n";
    fs::write(&workloads, csv).unwrap();
    let [w, p] = [&workloads, &page].map(|file| file.to_str().unwrap());
    let run = migplan(&["-q", "suggest", "-w", w, "--gpus", "800xa100-80gb", "--report", p]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let measure = "
        const table = document.querySelector('.many'), box = table.getBoundingClientRect();
        document.body.dataset.hidden = table.scrollWidth - table.clientWidth;
        document.body.dataset.inside = box.left >= 0 && box.right <= innerWidth;";
    let shown = dom(browser, &page, measure, 1300);
    for expected in ["data-hidden=\"0\"", "data-inside=\"true\"", "<legend>Colour by</legend>"] {
        assert!(shown.contains(expected), "{expected} is missing");
    }
}

#[test]
fn the_printed_report_has_no_empty_page() {
    let Some(browser) = chromium() else { return };
    if !tools::have(&["pdftotext"], "poppler-utils") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = report(folder.path(), "suggest");
    let pdf = folder.path().join("report.pdf");
    let target = format!("--print-to-pdf={}", pdf.display());
    browse(browser, &page, &["--no-pdf-header-footer", &target]);
    let output = Command::new("pdftotext").arg("-layout").arg(&pdf).arg("-").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let pages: Vec<&str> = text.trim_end_matches('\u{c}').split('\u{c}').collect();
    assert!(pages.len() >= 3, "{} pages", pages.len());
    for (number, page) in pages.iter().enumerate() {
        let lines = page.lines().filter(|l| !l.trim().is_empty()).count();
        let least = if number + 1 == pages.len() { 1 } else { 8 };
        assert!(lines >= least, "page {} of {} has {lines} lines", number + 1, pages.len());
    }
}
