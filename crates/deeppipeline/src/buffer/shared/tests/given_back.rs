//! What the memory of a buffer costs the system, and who can take it away.

use super::came_of;
use crate::buffer::shared::{Buffer, Codec, SharedBytes};
use crate::buffer::{Arrival, Origin, Push, Take, Taken, Wait};
use crate::clock::Moment;
use crate::ledger::Fate;
use crate::policies::{Intake, Overflow};
use crate::sample::{ForkTicket, Sample, SampleId};
use crate::source_id::SourceId;
use crate::unwind::BoxError;
use std::sync::Arc;

pub(super) struct Bytes;

impl Codec<Vec<u8>> for Bytes {
    fn size(&self, value: &Vec<u8>) -> Result<usize, BoxError> {
        Ok(value.len())
    }

    fn write(&self, value: &Vec<u8>, room: &mut [u8]) -> Result<(), BoxError> {
        room.copy_from_slice(value);
        Ok(())
    }

    fn read(&self, bytes: SharedBytes) -> Result<Vec<u8>, BoxError> {
        Ok(bytes.to_vec())
    }
}

const LARGE: usize = 2 << 20;

fn buffer() -> Buffer<Vec<u8>> {
    let limits = super::limits(4, 64 << 20, Overflow::Block, Intake::Single);
    Buffer::create(limits, Arc::new(Bytes), false).unwrap()
}

fn pass(buffer: &Buffer<Vec<u8>>, sizes: &[usize]) {
    for size in sizes {
        let sample = Sample {
            id: SampleId { number: 0, part: 0 },
            birth: Moment::now(),
            fork: ForkTicket::default(),
            source: SourceId::default(),
            value: vec![7; *size],
        };
        assert!(matches!(
            buffer.push(sample, Arrival::Outside, Origin::default(), Wait::No),
            Push::Done { accepted: true, .. }
        ));
    }
    for _ in sizes {
        let Take::Ready { taken: Taken { lease: Some(lease), .. }, .. } = buffer.take(0, None, u64::MAX, Wait::No)
        else {
            panic!("nothing to take")
        };
        lease.settle(came_of(Fate::Used, 0, 0));
    }
}

fn bytes_in_memory(buffer: &Buffer<Vec<u8>>) -> usize {
    rustix::fs::fstat(buffer.file()).unwrap().st_blocks as usize * 512
}

#[test]
fn memory_that_lies_idle_goes_back_to_the_system() {
    let buffer = buffer();
    pass(&buffer, &[LARGE; 4]);
    buffer.sweep();
    assert!(bytes_in_memory(&buffer) >= 4 * LARGE, "what was used since the last sweep stays warm");
    // One slot goes on being used, the others do not.
    pass(&buffer, &[LARGE]);
    buffer.sweep();
    let warm = bytes_in_memory(&buffer);
    assert!((LARGE..2 * LARGE).contains(&warm), "{warm}");
    buffer.sweep();
    assert!(bytes_in_memory(&buffer) < LARGE / 8);
    pass(&buffer, &[LARGE, 1, LARGE]);
}

#[test]
fn a_slot_that_was_large_once_gives_back_what_it_does_not_need() {
    let buffer = buffer();
    pass(&buffer, &[LARGE]);
    pass(&buffer, &[1]);
    buffer.sweep();
    assert!(bytes_in_memory(&buffer) < LARGE / 8);
}

#[test]
fn nobody_can_shrink_the_memory_under_anothers_hands() {
    let buffer = buffer();
    let size = rustix::fs::fstat(buffer.file()).unwrap().st_size as u64;
    for length in [0, size - 1, size + 1] {
        assert_eq!(rustix::fs::ftruncate(buffer.file(), length), Err(rustix::io::Errno::PERM));
    }
}

#[test]
fn a_buffer_takes_addresses_for_what_lies_in_it_and_not_for_what_might() {
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let own = maps.lines().filter(|line| line.contains("memfd:deeppipeline"));
        let sizes = own.map(|line| {
            let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            u64::from_str_radix(to, 16).unwrap() - u64::from_str_radix(from, 16).unwrap()
        });
        sizes.max().unwrap_or_default()
    };
    for (places, most) in [(16, 8 << 20), (100_000, 256 << 20), (1_000_000, 2 << 30)] {
        let limits = super::limits(places, 256 << 20, Overflow::Block, Intake::Single);
        let buffer = Buffer::create(limits, Arc::new(Bytes), false).unwrap();
        pass(&buffer, &[1, 300, 5_000, 70_000, LARGE]);
        assert!(super::super::addresses(limits) <= most, "{} bytes for {places}", super::super::addresses(limits));
        assert!(mapped() <= 2 << 30);
        assert!(bytes_in_memory(&buffer) < 64 << 20, "and memory for what was in it");
    }
}

#[test]
fn places_of_all_sizes_are_given_back() {
    let buffer = buffer();
    pass(&buffer, &[LARGE, LARGE / 2, LARGE / 4]);
    pass(&buffer, &[LARGE / 8, LARGE / 2, LARGE]);
    buffer.sweep_all();
    assert!(bytes_in_memory(&buffer) < LARGE / 8);
}
