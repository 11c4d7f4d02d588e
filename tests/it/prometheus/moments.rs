//! What is of one moment, and what is not: looks at several targets and servers, one after the other.

use super::demand;

const USED: &str = "DCGM_FI_DEV_FB_USED";

/// One scrape of a node with seven instances: the pod on one of them, all others idle; with a time,
/// where one is given.
fn scrape(on: usize, pod: &str, described: bool, at_ms: Option<i64>) -> String {
    let mut text = String::new();
    if described {
        text += &format!("# HELP {USED} Framebuffer memory used (in MiB).\n# TYPE {USED} gauge\n");
    }
    for instance in 0..7 {
        let (of_pod, mib) = match instance == on {
            true => (format!("namespace=\"etl\",pod=\"{pod}\""), 5_000),
            false => ("namespace=\"\",pod=\"\"".to_string(), 12),
        };
        let at = at_ms.map_or(String::new(), |at| format!(" {at}"));
        text += &format!(
            "{USED}{{gpu=\"0\",UUID=\"GPU-a\",GPU_I_PROFILE=\"1g.10gb\",GPU_I_ID=\"{instance}\",Hostname=\"n1\",{of_pod}}} {mib}{at}\n"
        );
    }
    text
}

/// The demand of texts in files of their own.
fn found(texts: &[String]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec!["-q".to_string()];
    for (number, text) in texts.iter().enumerate() {
        let path = folder.path().join(number.to_string()).display().to_string();
        std::fs::write(&path, text).unwrap();
        arguments.extend(["--prometheus".to_string(), path]);
    }
    demand(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One pod at a time, each on another instance of the node.
fn hop(described: bool, step_ms: Option<i64>) -> Vec<String> {
    let of = |on: usize| {
        let at = step_ms.map(|step| 1_795_344_000_000 + step * on as i64);
        scrape(on, &format!("nightly-2938472{on}-x2x7k"), described, at)
    };
    (0..7).map(of).collect()
}

#[test]
fn a_pod_that_moves_is_one_whatever_tells_scrapes_apart() {
    let expected = ["etl,nightly,5000,1"];
    for described in [true, false] {
        let scrapes = hop(described, None);
        assert_eq!(found(&[scrapes.concat()]), expected, "{described}");
        assert_eq!(found(&scrapes), expected, "{described}");
    }
    for step_ms in [15_000, 60_000, 900_000] {
        let scrapes = hop(false, Some(step_ms));
        assert_eq!(found(&[scrapes.concat()]), expected, "{step_ms}");
        assert_eq!(found(&scrapes), expected, "{step_ms}");
    }
    // Nodes beside each other are of one moment.
    let other: Vec<String> = hop(true, None)
        .iter()
        .map(|text| {
            text.replace("GPU-a", "GPU-b").replace("\"n1\"", "\"n2\"").replace("x2x7k", "k2lpz")
        })
        .collect();
    let both: Vec<String> = hop(true, None).into_iter().zip(other).map(|(a, b)| a + &b).collect();
    assert_eq!(found(&[both.concat()]), ["etl,nightly,5000,2"]);
}

/// The answer of a server to a query for one instant: pods, each with the GPU that it has.
fn answer(pods: &[(&str, &str)], at: &str) -> String {
    let series = pods.iter().map(|(pod, uuid)| {
        let of_pod = match *pod {
            "" => String::new(),
            pod => format!(r#""namespace":"nlp","pod":"{pod}","#),
        };
        format!(
            r#"{{"metric":{{"__name__":"{USED}",{of_pod}"UUID":"{uuid}"}},"value":[{at},"5000"]}}"#
        )
    });
    format!("[{}]\n", series.collect::<Vec<_>>().join(","))
}

#[test]
fn servers_that_are_asked_one_after_the_other_show_one_moment() {
    let one = "serve-7d9c5b6f4-x2x7k";
    let two = "serve-7d9c5b6f4-k2lpz";
    let eu = answer(&[(one, "a"), ("other-0", "b")], "1795344020.123");
    let us = answer(&[(two, "c")], "1795344021.456");
    for files in
        [vec![eu.clone(), us.clone()], vec![us.clone(), eu.clone()], vec![format!("{eu}{us}")]]
    {
        assert!(found(&files).contains(&"nlp,serve,5000,2".to_string()), "{files:?}");
    }
    let later = answer(&[(two, "c")], "1795344621");
    assert!(found(&[eu.clone(), later]).contains(&"nlp,serve,5000,1".to_string()));
    // The same server again, which watches GPU b: the pod has gone from one GPU to another.
    let again = answer(&[(two, "c"), ("other-0", "b")], "1795344081");
    assert!(found(&[eu.clone(), again]).contains(&"nlp,serve,5000,1".to_string()));
    let again = answer(&[(two, "c"), ("", "a")], "1795344081");
    assert!(found(&[eu, again]).contains(&"nlp,serve,5000,1".to_string()));
}
