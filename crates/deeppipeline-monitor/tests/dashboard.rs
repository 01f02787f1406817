//! What a dashboard serves, and to whom.

mod support;

use deeppipeline::report::Timeline;
use deeppipeline::{BoxError, OnError, Overflow, Pipeline, chain, stage};
use deeppipeline_monitor::{Dashboard, OpenError, Options};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use support::{ask, connect, events, get, send_garbage};

fn free_port() -> Options {
    Options::new().address(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn open() -> Dashboard {
    free_port().open().unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A pipeline whose last stage works on a sample until it is told to go on.
fn held() -> (Pipeline<u32>, Sender<()>, Receiver<()>) {
    let (go_on, wait) = channel();
    let (tell, has_begun) = channel();
    let hold = move |_: u32| {
        tell.send(()).map_err(|_| "nobody looks")?;
        wait.recv().map_err(|_| "nobody says when")?;
        Ok::<_, BoxError>(())
    };
    let first = stage(|x: u32| x).name("first");
    let pipeline = Pipeline::builder().stage(first).end_stage(stage(hold).name("hold")).start().unwrap();
    (pipeline, go_on, has_begun)
}

#[test]
fn the_page_comes_with_all_that_it_is_made_of() {
    let dashboard = open();
    let page = get(&dashboard, "/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("text/html") && page.head.contains("default-src 'none'"), "{}", page.head);
    for part in ["/page.css", "/page.js"] {
        assert!(page.body.contains(part));
        assert_eq!(get(&dashboard, part).status, 200);
    }
    assert_eq!(get(&dashboard, "/nothing").status, 404);
    assert_eq!(get(&dashboard, "/api/report").status, 404, "nothing is watched");
    assert_eq!(get(&dashboard, "/api/pipelines").body, "[]");
}

#[test]
fn the_report_says_what_happens_now_and_who_gets_what_a_stage_gives() {
    let (dashboard, (pipeline, go_on, has_begun)) = (open(), held());
    assert_eq!(dashboard.watch("frames", pipeline.reporter()), "frames");
    assert_eq!(dashboard.watch("frames", pipeline.reporter()), "frames 2");
    pipeline.put(1).unwrap();
    has_begun.recv().unwrap();

    let shown = json(&get(&dashboard, "/api/report?pipeline=frames%202").body);
    assert_eq!((&shown["name"], &shown["failure"]), (&"frames 2".into(), &Value::Null));
    assert!(shown["explanation"]["text"].is_string(), "{shown}");
    let stages = &shown["report"]["stages"];
    assert_eq!((&stages[0]["name"], &stages[0]["next"]), (&"first".into(), &vec![1].into()));
    assert_eq!((&stages[1]["counts"]["in_flight"], &stages[1]["next"]), (&1.into(), &Value::Array(Vec::new())));
    assert_eq!(get(&dashboard, "/api/report?pipeline=other").status, 404);
    go_on.send(()).unwrap();
    pipeline.setstop().unwrap();
}

#[test]
fn the_timeline_comes_as_a_trace_and_as_a_picture_as_long_as_the_pipeline_is_there() {
    let (dashboard, (pipeline, go_on, has_begun)) = (open(), held());
    dashboard.watch("frames", pipeline.reporter());
    pipeline.put(1).unwrap();
    has_begun.recv().unwrap();
    let trace = get(&dashboard, "/api/timeline?pipeline=frames");
    let timeline = Timeline::from_json(trace.body.as_bytes()).unwrap();
    let visits: Vec<_> = timeline.visits.iter().map(|visit| (visit.stage, visit.word())).collect();
    assert_eq!(visits, [(0, "used"), (1, "in work")]);
    let last = Timeline::from_json(get(&dashboard, "/api/timeline?last=0").body.as_bytes()).unwrap();
    assert_eq!(last.visits.iter().map(|visit| visit.stage).collect::<Vec<_>>(), [1], "what has ended is left out");

    let picture = get(&dashboard, "/api/timeline.svg?pipeline=frames&last=60&follow=1");
    assert!(picture.head.contains("image/svg+xml") && picture.body.contains("in work"), "{}", picture.body);
    for (path, status) in [
        ("/api/timeline.svg?last=soon", 400),
        ("/api/timeline?follow=-1", 400),
        ("/api/timeline?pipeline=other", 404),
        ("/api/timeline?last=1e999", 200),
        ("/api/timeline?last=-1", 200),
    ] {
        assert_eq!(get(&dashboard, path).status, status, "{path}");
    }
    go_on.send(()).unwrap();
    pipeline.setstop().unwrap();
    drop(pipeline);
    assert_eq!(get(&dashboard, "/api/timeline?pipeline=frames").status, 404);
}

#[test]
fn a_block_gives_to_the_first_stage_of_each_branch_and_these_to_what_is_behind() {
    let pair = (chain().stage(|x: u32| x).stage(|x: u32| x), chain().stage(|x: u32| x));
    let pipeline = Pipeline::builder().stage(|x: u32| x).parallel(pair).end_stage(|_: (u32, u32)| {}).start().unwrap();
    let report = pipeline.setstop().unwrap();
    let next: Vec<_> = report.stages.iter().map(|stage| stage.next.clone()).collect();
    assert_eq!(next, [vec![1], vec![2, 4], vec![3], vec![5], vec![5], vec![]]);
}

#[test]
fn a_pipeline_that_went_before_anybody_looked_is_shown_as_it_was_at_its_end() {
    let dashboard = open();
    let pipeline = Pipeline::builder().end_stage(|_: u32| {}).start().unwrap();
    dashboard.watch("short", pipeline.reporter());
    pipeline.put(1).unwrap();
    pipeline.setstop().unwrap();
    drop(pipeline);
    let shown = json(&get(&dashboard, "/api/report").body);
    assert_eq!((&shown["is_there"], &shown["report"]["outcome"]), (&false.into(), &"finished".into()));
}

/// The numbers of a metric, each by its labels.
fn numbers(metrics: &str, name: &str) -> HashMap<String, f64> {
    let of_name = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
    of_name.map(|(labels, number)| (labels.to_owned(), number.parse().unwrap())).collect()
}

#[test]
fn the_fates_of_a_stage_add_up_to_what_entered() {
    let dashboard = open();
    let fails = |x: u32| if x.is_multiple_of(3) { Err("no") } else { Ok(x.is_multiple_of(2).then_some(x)) };
    let pipeline = Pipeline::builder()
        .overflow(Overflow::DropOldest)
        .stage(stage(fails).name("picky \"one\"").on_error(OnError::Skip))
        .end_stage(stage(|_: u32| {}).name("end"))
        .start()
        .unwrap();
    dashboard.watch("numbers", pipeline.reporter());
    for x in 0..1000 {
        pipeline.put(x).unwrap();
    }
    let report = pipeline.setstop().unwrap();

    let metrics = get(&dashboard, "/metrics");
    assert!(metrics.head.contains("openmetrics-text") && metrics.body.ends_with("# EOF\n"), "{metrics:?}");
    let entered = numbers(&metrics.body, "deeppipeline_entered_samples_total");
    let fates = numbers(&metrics.body, "deeppipeline_samples_total");
    assert_eq!(entered.len(), 2);
    for (labels, entered) in entered {
        let of_stage = fates.iter().filter(|(fate, _)| fate.starts_with(&format!("{labels},fate=")));
        assert_eq!(of_stage.map(|(_, count)| count).sum::<f64>(), entered, "{labels}");
    }
    let name = r#"pipeline="numbers",stage="picky \"one\"",fate="failed""#;
    assert_eq!(fates[name], report.stages[0].counts.failed as f64);
    assert_eq!(numbers(&metrics.body, "deeppipeline_running")[r#"pipeline="numbers""#], 0.0);
}

#[test]
fn a_request_by_another_name_or_from_another_page_is_refused() {
    let (dashboard, (pipeline, ..)) = (open(), held());
    dashboard.watch("secret", pipeline.reporter());
    let address = dashboard.address();
    let status = |headers: &[(&str, &str)]| ask(address, "GET /api/report", headers).status;
    let port = address.port();
    let own = format!("localhost:{port}");
    assert_eq!(status(&[("Host", &own)]), 200);
    assert_eq!(status(&[("Host", &own), ("Origin", &format!("http://{own}"))]), 200);
    assert_eq!(status(&[("Host", &format!("[::1]:{port}"))]), 200);
    // A name that somebody else lets lead to 127.0.0.1.
    assert_eq!(status(&[("Host", &format!("elsewhere.example:{port}"))]), 403);
    assert_eq!(status(&[("Host", &format!("127.0.0.1.example:{port}"))]), 403);
    assert_eq!(status(&[("Host", "localhost:1")]), 403);
    assert_eq!(status(&[]), 403);
    for origin in ["http://elsewhere.example", "null", "http://localhost:1"] {
        assert_eq!(status(&[("Host", &own), ("Origin", origin)]), 403, "{origin}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(ask(address, &format!("{method} /api/report"), &[("Host", &own)]).status, 405, "it only shows");
    }
}

#[test]
fn a_token_is_asked_for_what_is_said_of_pipelines_and_is_there_for_other_machines() {
    let dashboard = free_port().token("0123456789abcdef").open().unwrap();
    assert!(dashboard.url().ends_with("/?token=0123456789abcdef"));
    assert_eq!(get(&dashboard, "/").status, 200);
    for path in ["/api/pipelines", "/api/events", "/metrics"] {
        assert_eq!(get(&dashboard, path).status, 401, "{path}");
        assert_eq!(get(&dashboard, &format!("{path}?token=0123456789abcdeX")).status, 401, "{path}");
    }
    assert_eq!(get(&dashboard, "/api/pipelines?token=0123456789abcdef").status, 200);
    let address = dashboard.address();
    let host = address.to_string();
    let bearer = [("Host", host.as_str()), ("Authorization", "Bearer 0123456789abcdef")];
    assert_eq!(ask(address, "GET /metrics", &bearer).status, 200);

    let short = free_port().token("short").open().unwrap_err();
    assert_eq!(short.to_string(), "the token has 5 bytes, but must have at least 16");
    let for_all = Options::new().address(SocketAddr::from(([0, 0, 0, 0], 0))).open().unwrap();
    let (_, token) =
        for_all.url().split_once("?token=").map(|(page, token)| (page.to_owned(), token.to_owned())).unwrap();
    assert_eq!(token.len(), 32);
    let here = SocketAddr::from(([127, 0, 0, 1], for_all.address().port()));
    let by_name = [("Host", "camera.example")];
    assert_eq!(ask(here, "GET /api/pipelines", &by_name).status, 401);
    assert_eq!(ask(here, &format!("GET /api/pipelines?token={token}"), &by_name).status, 200);
}

#[test]
fn a_port_that_is_taken_is_named_and_the_default_gives_way() {
    let dashboard = open();
    let error = Options::new().address(dashboard.address()).open().unwrap_err();
    assert!(matches!(error, OpenError::Listen { address, .. } if address == dashboard.address()), "{error:?}");
    assert!(error.to_string().contains("port 0 takes any that is free"), "{error}");
    let both = [Dashboard::open().unwrap(), Dashboard::open().unwrap()];
    assert_ne!(both[0].address(), both[1].address());
}

#[test]
fn a_pipeline_that_ends_while_it_is_watched_is_shown_as_it_was() {
    let (dashboard, (pipeline, go_on, has_begun)) = (open(), held());
    dashboard.watch("frames", pipeline.reporter());
    let mut next = events(&dashboard, "/api/events?pipeline=frames");
    let outcome = |event: &str| json(event)["shown"]["report"]["outcome"].clone();
    assert_eq!(outcome(&next().unwrap()), "running");
    pipeline.put(1).unwrap();
    has_begun.recv().unwrap();
    drop(go_on);
    let error = pipeline.setstop().unwrap_err();

    let failed = std::iter::from_fn(&mut next).find(|event| outcome(event) == "failed").unwrap();
    assert_eq!(json(&failed)["shown"]["failure"], error.to_string());
    drop(pipeline);
    let gone = std::iter::from_fn(&mut next).find(|event| json(event)["shown"]["is_there"] == false).unwrap();
    assert_eq!(outcome(&gone), "failed");
    assert_eq!(json(&gone)["pipelines"][0]["outcome"], "failed");

    // Its name is free again.
    let (another, ..) = held();
    assert_eq!(dashboard.watch("frames", another.reporter()), "frames");
    assert!(std::iter::from_fn(&mut next).any(|event| outcome(&event) == "running"));
}

#[test]
fn those_who_look_and_never_read_hold_up_nobody_and_closing_waits_for_none() {
    let (dashboard, (pipeline, ..)) = (open(), held());
    dashboard.watch("frames", pipeline.reporter());
    let silent: Vec<_> = (0..60).map(|_| connect(dashboard.address())).collect();
    let deaf: Vec<_> = (0..60).map(|_| events(&dashboard, "/api/events")).collect();
    let mut next = events(&dashboard, "/api/events");
    assert!(next().is_some() && next().is_some());
    drop(dashboard);
    while next().is_some() {}
    drop((silent, deaf));
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let dashboard = open();
    let mut seed = 1_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let begun: [&[u8]; 4] =
        [b"", b"GET /api/report?pipeline=", b"GET / HTTP/1.1\r\nHost: ", b"GET /api/events HTTP/1.1\r\n"];
    for _ in 0..300 {
        let mut bytes = begun[(random() % 4) as usize].to_vec();
        bytes.extend((0..random() % 400).map(|_| random() as u8));
        send_garbage(dashboard.address(), &bytes);
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    send_garbage(dashboard.address(), long.as_bytes());
    assert_eq!(get(&dashboard, "/").status, 200);
}
