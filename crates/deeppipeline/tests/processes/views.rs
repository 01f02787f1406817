//! A stage may keep the bytes that it got where they lie: they stay what they were, and the buffer does not run dry.

use crate::line::{Desk, Line};
use crate::stages::{assert_clear, end, ended, isolated_stage, pipeline};
use deeppipeline::processes::{OnCrash, SharedBytes};
use deeppipeline::{BoxError, Give, Isolated, Stage, isolated};
use rustix::process::{Signal, getpid, kill_process};

const SAMPLES: u8 = 100;
const LENGTH: usize = 5000;

fn page(number: u8) -> SharedBytes {
    vec![number; LENGTH].into()
}

/// Whether a page is still what it was, after its first byte.
fn is_page(bytes: &[u8], number: u8) -> bool {
    bytes.len() == LENGTH && bytes[1..].iter().all(|byte| *byte == number)
}

/// Keeps all that it gets, and gives how many pages are as they should be. It marks the first byte of each page that it
/// may write. By its desk it asks how many of its pages, the oldest first, it is to drop; it dies if it hears nothing.
pub(crate) struct Album {
    pages: Vec<(u8, SharedBytes)>,
    desk: Option<Line>,
}

impl Stage for Album {
    type Input = SharedBytes;
    type Output = (usize, usize, bool);
    fn stage_run(&mut self, mut bytes: SharedBytes) -> Result<Give<(usize, usize, bool)>, BoxError> {
        let number = bytes[1];
        let writable = bytes.is_writable();
        match bytes.as_mut() {
            Some(room) => room[0] = 255,
            None if writable => return Err("it said that it was writable".into()),
            None => {}
        }
        self.pages.push((number, bytes));
        if let Some(desk) = &mut self.desk {
            desk.say(&number)?;
            let drop: Option<usize> = desk.hear()?;
            match drop {
                Some(count) => self.pages.drain(..count.min(self.pages.len())).for_each(std::mem::drop),
                None => kill_process(getpid(), Signal::KILL)?,
            }
        }
        let right = |(number, bytes): &&(u8, SharedBytes)| {
            is_page(bytes, *number) && (bytes[0] == 255 || !bytes.is_writable() && bytes[0] == *number)
        };
        Ok(Give::One((self.pages.len(), self.pages.iter().filter(right).count(), writable)))
    }
}

impl Isolated for Album {
    const NAME: &str = "album";
    type Settings = Option<String>;
    fn make(desk: Option<String>) -> Result<Self, BoxError> {
        Ok(Album { pages: Vec::new(), desk: desk.map(|desk| Line::to(&desk)).transpose()? })
    }
}

#[test]
fn a_stage_that_keeps_everything_keeps_it_as_it_was() {
    for (on_crash, writable) in [(OnCrash::Skip, true), (OnCrash::Stop, true)] {
        keep_everything(on_crash, writable);
    }
}

#[test]
fn what_may_be_tried_again_cannot_be_written() {
    keep_everything(OnCrash::Retry, false);
}

fn keep_everything(on_crash: OnCrash, writable: bool) {
    let (end, values) = end();
    let pipeline = pipeline().stage(isolated::<Album>(None).on_crash(on_crash)).end_stage(end).start().unwrap();
    for number in 1..=SAMPLES {
        pipeline.put(page(number)).unwrap();
    }
    ended(pipeline);
    let values = values.rest();
    for ((kept, right, is_writable), number) in values.iter().zip(1..) {
        assert_eq!((*kept, *right), (number, number));
        // Where the buffer would run dry it is given copies, which are its own.
        assert!(*is_writable || !writable, "page {number}");
    }
    assert_eq!(values.len(), usize::from(SAMPLES));
    assert!(writable || !values[0].2, "the first page lies in the buffer");
}

#[test]
fn a_stage_on_a_thread_keeps_what_a_process_gave() {
    let mut pages = Vec::new();
    let (mut tell, values) = end();
    let pipeline = pipeline()
        .stage(isolated::<Mirror>(()))
        .end_stage(move |bytes: SharedBytes| {
            pages.push(bytes);
            tell(pages.iter().zip(1..).all(|(bytes, number)| is_page(bytes, number) && bytes[0] == number));
        })
        .start()
        .unwrap();
    for number in 1..=SAMPLES {
        pipeline.put(page(number)).unwrap();
    }
    ended(pipeline);
    assert_eq!(values.rest(), vec![true; usize::from(SAMPLES)]);
}

isolated_stage! {
    /// Gives on what it got, straight from one buffer into the other.
    pub(crate) Mirror, "mirror": |bytes: SharedBytes| -> SharedBytes {
        Ok(Give::One(bytes))
    }
}

#[test]
fn bytes_flow_from_buffer_to_buffer_as_they_are() {
    let (mut tell, values) = end();
    let pipeline = pipeline()
        .stage(isolated::<Mirror>(()))
        .stage(isolated::<Mirror>(()))
        .end_stage(move |bytes: SharedBytes| tell((bytes[0], is_page(&bytes, bytes[0]))))
        .start()
        .unwrap();
    for number in 1..=SAMPLES {
        pipeline.put(page(number)).unwrap();
    }
    ended(pipeline);
    assert_eq!(values.rest(), (1..=SAMPLES).map(|number| (number, true)).collect::<Vec<_>>());
}

#[test]
fn views_dropped_late_and_out_of_turn_give_their_slots_back() {
    let desk = Desk::open();
    let (end, values) = end();
    let pipeline = pipeline().stage(isolated::<Album>(Some(desk.address()))).end_stage(end).start().unwrap();
    let mut line = desk.next().unwrap();
    for number in 1..=SAMPLES {
        pipeline.put(page(number)).unwrap();
        assert_eq!(line.hear::<u8>().unwrap(), number);
        line.say(&Some(usize::from(number % 7))).unwrap();
        let (kept, right, _) = values.next();
        assert_eq!(kept, right, "after page {number}");
    }
    ended(pipeline);
}

#[test]
fn a_worker_that_dies_with_views_leaves_no_slot_behind() {
    let desk = Desk::open();
    let (end, values) = end();
    let pipeline =
        pipeline().stage(isolated::<Album>(Some(desk.address())).max_restarts(100)).end_stage(end).start().unwrap();
    // More pages than the buffer has slots, over four lives.
    const PAGES: u8 = 6;
    for life in 0..4 {
        let mut line = desk.next().unwrap();
        for page_of_life in 1..=PAGES {
            let number = life * PAGES + page_of_life;
            pipeline.put(page(number)).unwrap();
            assert_eq!(line.hear::<u8>().unwrap(), number);
            let last = page_of_life == PAGES && life < 3;
            line.say(&(!last).then_some(0_usize)).unwrap();
            if !last {
                let kept = usize::from(page_of_life);
                assert_eq!(values.next(), (kept, kept, true));
            }
        }
    }
    let report = pipeline.setstop().unwrap();
    assert_clear(&report);
    assert_eq!((report.stages[0].counts.lost, report.stages[0].restarts), (3, 3));
}
