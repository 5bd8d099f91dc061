//! What a goroutine's thread-local storage and thread control block look like when it starts.
//!
//! Two pristine threads are pictured ([`super::snapshot`]) and every word that differs between them
//! must be one that is known: a pointer into the block itself (relocated for each goroutine), the
//! stack's address, what the start function was given, or a field that each goroutine gets for itself
//! (thread number, list links, dynamic thread vector, restartable-sequence area). Anything else is a
//! refusal.
//!
//! - P1: a goroutine's block is the picture, with relocated pointers, its own identity, and nothing
//!   of any thread that ever ran.
//! - P2: malloc's words are exactly two, in libc's block; the switch carries them (W1).

use super::modules::Module;
use super::platform::libc_module;
use super::snapshot::{self, Frame, Pictured, Snapshot};
use super::{Refusal, ballast, require, symbols};
use crate::stack::guard::GUARD_BYTES;
use crate::thread::STACK_BYTES;
use std::ffi::{CStr, c_void};

/// Bytes of the restartable-sequence area that the kernel may write (Linux 6.3: up to `mm_cid`).
const RSEQ_BYTES: usize = 32;
/// `cpu_id` of a thread whose registration failed: libc then asks the kernel each time.
const RSEQ_REGISTRATION_FAILED: u32 = -2i32 as u32;
/// Keys in the first block of pthread-specific data, and bytes of a key's entry.
const FIRST_BLOCK_BYTES: usize = 32 * 16;

/// The template; see the module's text.
#[derive(Debug)]
pub struct Template {
    image: Vec<usize>,
    used: usize,
    tcb: usize,
    source_fs: usize,
    relocations: Vec<usize>,
    malloc_words: [isize; 2],
    tid_at: usize,
    list_at: usize,
    stack_at: usize,
    cleanup_at: Option<usize>,
    specific_at: usize,
    dtv_modules: usize,
    dtv_generation: usize,
}

/// What distinguishes one goroutine's block from another's.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The thread number in the control block, by which libc tells lock owners apart.
    pub tid: u32,
    /// The lowest address of the stack and its size in bytes.
    pub stack: (usize, usize),
    /// Entry 0 of the dynamic thread vector; null until the goroutine has allocated one.
    pub dtv: *mut usize,
}

/// libc's descriptor of a field of its thread structure: bits, count, offset.
fn field(name: &'static CStr) -> Result<usize, Refusal> {
    let descriptor = symbol(name)?.cast::<[u32; 3]>();
    // SAFETY: libc exports these for libthread_db as three 32-bit words.
    Ok(unsafe { *descriptor }[2] as usize)
}

fn symbol(name: &'static CStr) -> Result<*const c_void, Refusal> {
    let found = symbols::data(name);
    require("symbols", found.is_some(), || {
        format!("libc does not export {}", name.to_string_lossy())
    })?;
    Ok(found.unwrap_or(std::ptr::null()))
}

/// The size of static TLS with the control block, as the dynamic linker reckons it.
fn static_tls_bytes() -> Result<usize, Refusal> {
    let function = symbol(c"_dl_get_tls_static_info")?;
    // SAFETY: the dynamic linker's function of this name takes two pointers to sizes.
    let function: unsafe extern "C" fn(*mut usize, *mut usize) =
        unsafe { std::mem::transmute(function) };
    let (mut size, mut align) = (0, 0);
    // SAFETY: both are writable.
    unsafe { function(&raw mut size, &raw mut align) };
    Ok(size)
}

impl Template {
    /// Finds everything out. Two threads are made, and a library of one page is loaded for good. Calls
    /// `meanwhile` while the threads run, which must load no library. Answers the threads as well, which
    /// wait for what they are to do; the first has used malloc, the second has not.
    ///
    /// # Errors
    /// The first self-check that fails, or what `meanwhile` answers.
    pub fn discover(
        modules: &[Module],
        meanwhile: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(Self, [Pictured; 2]), Refusal> {
        let size_of_thread = symbol(c"_thread_db_sizeof_pthread")?.cast::<u32>();
        // SAFETY: libc exports its thread structure's size as a 32-bit word.
        let tcb = unsafe { *size_of_thread } as usize;
        let static_bytes = static_tls_bytes()?;
        let distances = modules.iter().filter_map(|module| module.tls_distance);
        let used_exactly = distances
            .filter(|distance| *distance + tcb <= static_bytes)
            .max()
            .unwrap_or(0);
        require(
            "static-tls-size",
            used_exactly > 0 && used_exactly + tcb <= static_bytes,
            || "the size of static thread-local storage could not be found".to_owned(),
        )?;
        let limit = static_bytes - tcb;
        ballast::spend(limit - used_exactly, limit)?;
        let libc = libc_module(modules)?;
        let libc_block = (libc.tls_distance.unwrap_or(0), libc.tls_bytes & !7);
        let used = used_exactly.next_multiple_of(64);
        let frame = Frame {
            used,
            tcb,
            libc_block,
        };
        // Different sizes, so that a difference of stacks is no difference of FS bases.
        let threads = [
            snapshot::begin(frame, STACK_BYTES, true)?,
            snapshot::begin(frame, STACK_BYTES + GUARD_BYTES, false)?,
        ];
        meanwhile()?;
        let [first, second] = threads.each_ref().map(Pictured::wait);
        let malloc_words = malloc_words(&first, libc_block.0)?;
        let template = Template {
            used,
            tcb,
            source_fs: first.fs,
            relocations: Vec::new(),
            malloc_words,
            tid_at: used + field(c"_thread_db_pthread_tid")?,
            list_at: used + field(c"_thread_db_pthread_list")?,
            stack_at: 0,
            cleanup_at: None,
            specific_at: 0,
            dtv_modules: modules
                .iter()
                .map(|module| module.tls_id)
                .max()
                .unwrap_or(0)
                + 1,
            dtv_generation: first.dtv.1,
            image: Vec::new(),
        };
        Ok((template.compare(first, &second)?, threads))
    }

    /// Classifies every word of the two pictures and takes the first as the image.
    fn compare(mut self, first: Snapshot, second: &Snapshot) -> Result<Self, Refusal> {
        let rseq_at = rseq_offset()?.map(|offset| (self.used as isize + offset) as usize);
        let block = (first.fs - self.used)..(first.fs + self.tcb);
        let stack = first.stack.0..block.start;
        let mut image = first.words;
        let mut unknown = Vec::new();
        let mut argument_at = None;
        for (index, (&a, &b)) in image.iter().zip(&second.words).enumerate() {
            let at = index * 8;
            let own = at == self.used + 8
                || at == self.tid_at & !7
                || at == self.list_at
                || at == self.list_at + 8
                || rseq_at.is_some_and(|rseq| (rseq..rseq + RSEQ_BYTES).contains(&at));
            if block.contains(&a) && b.wrapping_sub(a) == second.fs.wrapping_sub(first.fs) {
                self.relocations.push(index);
                if self.specific_at == 0 && a.wrapping_add(FIRST_BLOCK_BYTES) == block.start + at {
                    self.specific_at = at;
                }
            } else if a == first.stack.0 && b == second.stack.0 {
                self.stack_at = at;
            } else if a == first.argument && b == second.argument {
                argument_at = Some(at);
            } else if stack.contains(&a) && at > self.used {
                self.cleanup_at = Some(at);
            } else if a != b && !own && at != self.stack_at + 8 {
                unknown.push(at as isize - self.used as isize);
            }
        }
        require("template-comparison", unknown.is_empty(), || {
            format!("two new threads differ in unknown words at {unknown:x?} from the FS base")
        })?;
        let fields = [self.stack_at, self.specific_at];
        let self_pointers =
            [0, 16].map(|offset| self.relocations.contains(&((self.used + offset) / 8)));
        require(
            "template-fields",
            !fields.contains(&0) && self_pointers == [true; 2],
            || "libc's thread structure is not laid out as expected".to_owned(),
        )?;
        let cleared = [Some(self.used + 8), self.cleanup_at, argument_at];
        for at in cleared.into_iter().flatten() {
            image[at / 8] = 0;
        }
        if let Some(rseq) = rseq_at {
            image[rseq / 8..(rseq + RSEQ_BYTES) / 8].fill(0);
            // cpu_id is the second of the area's 32-bit words, in the upper half of the first.
            image[rseq / 8] = (RSEQ_REGISTRATION_FAILED as usize) << 32;
        }
        // These words are written for each goroutine and must not be relocated as well.
        let list = [self.list_at / 8, self.list_at / 8 + 1];
        self.relocations.retain(|index| !list.contains(index));
        self.image = image;
        Ok(self)
    }

    /// Bytes that a goroutine needs below its FS base.
    pub fn below(&self) -> usize {
        self.used
    }

    /// Bytes that a goroutine needs from its FS base on.
    pub fn above(&self) -> usize {
        self.tcb
    }

    /// Where malloc's words lie, as offsets from the FS base.
    pub fn malloc_words(&self) -> [isize; 2] {
        self.malloc_words
    }

    /// Room and generation of a new goroutine's dynamic thread vector.
    pub fn dtv(&self) -> (usize, usize) {
        (self.dtv_modules, self.dtv_generation)
    }

    /// Writes a new goroutine's block around `fs` (P1).
    ///
    /// # Safety
    /// `[fs - below, fs + above)` is writable and used by nobody; `fs` is a multiple of 64.
    #[inline]
    pub unsafe fn write(&self, fs: usize, identity: Identity) {
        let base = (fs - self.used) as *mut usize;
        let shift = fs.wrapping_sub(self.source_fs);
        // SAFETY: the image has `below + above` bytes, which the caller lends.
        unsafe { std::ptr::copy_nonoverlapping(self.image.as_ptr(), base, self.image.len()) };
        // SAFETY: the same bytes, now initialised, as a slice that lives in this function only.
        let words = unsafe { std::slice::from_raw_parts_mut(base, self.image.len()) };
        for &index in &self.relocations {
            words[index] = words[index].wrapping_add(shift);
        }
        let list = base as usize + self.list_at;
        words[self.list_at / 8] = list;
        words[self.list_at / 8 + 1] = list;
        words[self.used / 8 + 1] = identity.dtv as usize;
        words[self.stack_at / 8] = identity.stack.0;
        words[self.stack_at / 8 + 1] = identity.stack.1;
        // The tid is 32 bits wide; what shares its word is zero in a new thread.
        words[self.tid_at / 8] = (identity.tid as usize) << (8 * (self.tid_at % 8));
    }

    /// The thread number in the control block at `fs`.
    pub fn tid_field(&self, fs: usize) -> *mut u32 {
        (fs - self.used + self.tid_at) as *mut u32
    }

    /// Frees what libc allocated for the goroutine whose block is at `fs`: the further blocks of
    /// pthread-specific data, whose destructors have run.
    ///
    /// # Safety
    /// Called by that goroutine as its last use of thread-local storage.
    pub unsafe fn release_specific(&self, fs: usize) {
        let table = (fs - self.used + self.specific_at) as *mut *mut c_void;
        for index in 1..32 {
            // SAFETY: the table of second-level blocks has 32 pointers.
            let entry = unsafe { table.add(index) };
            // SAFETY: as above.
            let block = unsafe { entry.read() };
            if !block.is_null() {
                // SAFETY: libc allocated it by calloc for this goroutine's keys.
                unsafe { libc::free(block) };
                // SAFETY: as above.
                unsafe { entry.write(std::ptr::null_mut()) };
            }
        }
    }
}

/// The two words of libc's block that its first malloc and free changed, from the FS base (P2).
fn malloc_words(snapshot: &Snapshot, distance: usize) -> Result<[isize; 2], Refusal> {
    let [before, after, random] = &snapshot.libc_words;
    let changed: Vec<isize> = (0..before.len())
        .filter(|&index| before[index] != after[index])
        .map(|index| index as isize * 8 - distance as isize)
        .collect();
    let found = <[isize; 2]>::try_from(changed.as_slice());
    require("malloc-words", found.is_ok(), || {
        format!(
            "malloc changed {} words of a new thread's storage, not 2",
            changed.len()
        )
    })?;
    require("getrandom-words", after == random, || {
        "getrandom keeps state in thread-local storage".to_owned()
    })?;
    Ok(found.unwrap_or_default())
}

/// Where libc's restartable-sequence area lies from the FS base; `None` where it has none.
fn rseq_offset() -> Result<Option<isize>, Refusal> {
    let Some(symbol) = symbols::data(c"__rseq_offset") else {
        return Ok(None);
    };
    // SAFETY: libc exports the offset as a pointer-sized integer.
    let offset = unsafe { *symbol.cast::<isize>() };
    require("rseq", offset % 8 == 0, || {
        "the rseq area is not aligned".to_owned()
    })?;
    Ok(Some(offset))
}
