//! What a debugger has to know to find goroutines: addresses and offsets in one exported table, so that
//! `gdb/gaggle.py` works on release builds, which have no types in their debug information.

use crate::g::{self, G};
use std::mem::offset_of;

/// The table. Its fields are only ever added to, at the end; `version` counts those changes.
#[repr(C)]
#[derive(Debug)]
pub struct Table {
    version: usize,
    /// Address of the pointer to the youngest chunk; a chunk begins with a pointer to the next.
    chunks: *const (),
    chunk_head_bytes: usize,
    chunk_records: usize,
    record_bytes: usize,
    id: usize,
    on: usize,
    suspended_on: usize,
    stack_pointer: usize,
    slot: usize,
    reason: usize,
    name: usize,
    location: usize,
    parent: usize,
}

// SAFETY: nothing in it ever changes, and the pointer is a static's.
unsafe impl Sync for Table {}

/// For `gdb/gaggle.py`.
#[unsafe(no_mangle)]
#[used]
pub static GAGGLE_DEBUGGER_TABLE: Table = Table {
    version: 1,
    chunks: (&raw const g::CHUNKS).cast(),
    chunk_head_bytes: size_of::<g::Chunk>(),
    chunk_records: g::CHUNK_RECORDS,
    record_bytes: size_of::<G>(),
    id: offset_of!(G, id),
    on: offset_of!(G, on),
    suspended_on: offset_of!(G, suspended_on),
    stack_pointer: offset_of!(G, stack_pointer),
    slot: offset_of!(G, slot),
    reason: offset_of!(G, wait) + g::WAIT_REASON_OFFSET,
    name: offset_of!(G, name),
    location: offset_of!(G, location),
    parent: offset_of!(G, parent),
};
