//! Spending what is left of the static TLS surplus, so that stacks may begin right under the *used*
//! thread-local storage.
//!
//! glibc keeps 1.7 KB or so of static TLS unused, for libraries loaded later whose code demands it
//! (the initial-exec model). A goroutine's stack lies where that surplus would be, so such a library
//! would find its variables among stack frames. We load a library of one segment, made here, whose
//! thread-local block takes all of the surplus; a later initial-exec library then fails to load with
//! glibc's own error ("cannot allocate memory in static TLS block").
//!
//! Assumption: a library with an `R_X86_64_TPOFF64` relocation gets its block from the surplus, and
//! is refused when the surplus is too small. Check (`static-tls-ballast`): the relocation, by which code
//! of such a library would find its variables, says that our block begins where static thread-local
//! storage does, so that nothing is left below it; or, where it begins elsewhere, a further library of a
//! single byte must be refused. (To load that one each time cost 45 us of every start.)

use super::{Refusal, require};
use crate::call;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

const PAGE: usize = 4096;
/// Where the dynamic section, the relocation and its target lie in the image.
const DYNAMIC_AT: usize = 0x200;
const RELOCATION_AT: usize = 0x300;
const SYMBOLS_AT: usize = 0x340;
const STRINGS_AT: usize = 0x380;
const TARGET_AT: usize = 0x3c0;

const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
const DT_STRSZ: u64 = 10;
const DT_SYMENT: u64 = 11;
const DT_FLAGS: u64 = 30;
const DF_STATIC_TLS: u64 = 0x10;
const R_X86_64_TPOFF64: u64 = 18;

struct Image(Vec<u8>);

impl Image {
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&bytes);
    }

    /// A program header: type, flags, offset (= address), size in the file, size in memory, alignment.
    fn header(
        &mut self,
        index: usize,
        kind: u32,
        at: usize,
        file: usize,
        memory: usize,
        align: u64,
    ) {
        let start = 64 + index * 56;
        self.put(start, kind.to_le_bytes());
        self.put(start + 4, (libc::PF_R | libc::PF_W).to_le_bytes());
        for (word, value) in [
            at as u64,
            at as u64,
            at as u64,
            file as u64,
            memory as u64,
            align,
        ]
        .iter()
        .enumerate()
        {
            self.put(start + 8 + word * 8, value.to_le_bytes());
        }
    }
}

/// A shared library of one page whose thread-local block has `tls_bytes` bytes and must be static.
fn library(tls_bytes: usize) -> Vec<u8> {
    let mut image = Image(vec![0; PAGE]);
    // ELF header: 64 bits, little-endian, a shared object for x86-64, four program headers.
    image.put(0, *b"\x7fELF\x02\x01\x01\0");
    image.put(16, 3u16.to_le_bytes());
    image.put(18, 62u16.to_le_bytes());
    image.put(20, 1u32.to_le_bytes());
    image.put(32, 64u64.to_le_bytes());
    image.put(52, 64u16.to_le_bytes());
    image.put(54, 56u16.to_le_bytes());
    image.put(56, 4u16.to_le_bytes());
    image.header(0, libc::PT_LOAD, 0, PAGE, PAGE, PAGE as u64);
    image.header(1, libc::PT_DYNAMIC, DYNAMIC_AT, 160, 160, 8);
    image.header(2, libc::PT_TLS, TARGET_AT, 0, tls_bytes, 1);
    // Without this header glibc would make every stack of the process executable.
    image.header(3, libc::PT_GNU_STACK, 0, 0, 0, 16);
    let dynamic = [
        (DT_STRTAB, STRINGS_AT as u64),
        (DT_SYMTAB, SYMBOLS_AT as u64),
        (DT_STRSZ, 1),
        (DT_SYMENT, 24),
        (DT_RELA, RELOCATION_AT as u64),
        (DT_RELASZ, 24),
        (DT_RELAENT, 24),
        (DT_FLAGS, DF_STATIC_TLS),
        (DT_NULL, 0),
    ];
    for (index, (tag, value)) in dynamic.into_iter().enumerate() {
        image.put(DYNAMIC_AT + index * 16, tag.to_le_bytes());
        image.put(DYNAMIC_AT + index * 16 + 8, value.to_le_bytes());
    }
    // One relocation against the null symbol: "the distance of this module's block from FS".
    image.put(RELOCATION_AT, (TARGET_AT as u64).to_le_bytes());
    image.put(RELOCATION_AT + 8, R_X86_64_TPOFF64.to_le_bytes());
    image.0
}

/// Loads a library whose static block has `tls_bytes` bytes, for good, and answers how far below the FS
/// base that begins. The error is glibc's.
fn load(tls_bytes: usize) -> Result<usize, String> {
    // SAFETY: the name ends in a zero byte; the flag is memfd_create's.
    let fd = unsafe {
        call::raw(
            libc::SYS_memfd_create,
            [
                c"gaggle-static-tls".as_ptr() as usize,
                libc::MFD_CLOEXEC as usize,
                0,
                0,
                0,
                0,
            ],
        )
    };
    if fd < 0 {
        return Err(format!(
            "memfd_create: {}",
            std::io::Error::from_raw_os_error(-fd as i32)
        ));
    }
    let image = library(tls_bytes);
    // SAFETY: the kernel reads the image, which is borrowed.
    let written = unsafe {
        call::raw(
            libc::SYS_write,
            [fd as usize, image.as_ptr() as usize, image.len(), 0, 0, 0],
        )
    };
    let result = if written == image.len() as isize {
        open(&path_of(fd))
    } else {
        Err("the in-memory file could not be written".to_owned())
    };
    call::close(fd as c_int);
    result
}

/// A path to `fd` that was never used before: the dynamic linker takes a library of the same name for
/// one that it has loaded, and descriptor numbers are reused.
fn path_of(fd: isize) -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: only uniqueness matters.
    let number = USED.fetch_add(1, Ordering::Relaxed);
    format!("/proc/self/fd/{}{fd}", "./".repeat(number))
}

/// The beginning of glibc's `struct link_map`, as `<link.h>` has it.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const c_char,
}

/// Gives a loaded library of ours a name that is no path. Who asks for the names of all libraries, to
/// read their symbols, would else open whatever that number stands for by then, in its own process: gdb
/// and a backtrace of std wait for ever where it is a pipe.
fn rename(map: *mut LinkMap) {
    const NAME: &CStr = c"gaggle-static-tls (in memory)";
    // SAFETY: the library is never unloaded, so glibc never frees the name, and the new one lives
    // for ever; glibc compares names, and never has a reason to open one again.
    unsafe { (*map).name = NAME.as_ptr() };
}

/// glibc's record of a loaded library.
fn link_map(handle: *mut c_void) -> Option<*mut LinkMap> {
    let mut map: *mut LinkMap = std::ptr::null_mut();
    // SAFETY: the handle is dlopen's, and this request writes one pointer.
    let failed = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    (failed == 0 && !map.is_null()).then_some(map)
}

/// How far below the FS base the block of a loaded library of ours begins: what glibc wrote in place of
/// the relocation.
fn distance(map: *mut LinkMap) -> usize {
    // SAFETY: the library is loaded, for good.
    let image = unsafe { (*map).address };
    // SAFETY: the relocation's target, a word within the library's one page, written when it was loaded.
    unsafe { ((image + TARGET_AT) as *const usize).read() }.wrapping_neg()
}

fn open(path: &str) -> Result<usize, String> {
    let path = CString::new(path).expect("a formatted path holds no zero byte");
    // SAFETY: loading runs no code of the library, which has none.
    let handle = unsafe {
        libc::dlopen(
            path.as_ptr(),
            libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE,
        )
    };
    if !handle.is_null() {
        let map =
            link_map(handle).ok_or("the in-memory library is not in the list of libraries")?;
        rename(map);
        return Ok(distance(map));
    }
    // SAFETY: asked right after the failure, on the same thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err("dlopen failed".to_owned());
    }
    // SAFETY: dlerror answers a string that lives until the next call on this thread.
    Err(unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned())
}

/// Takes all that is left of the static TLS surplus, `left` bytes by the caller's reckoning; `limit` is how
/// far below the FS base static thread-local storage begins.
///
/// # Errors
/// Where the surplus could not be spent to the last byte.
pub fn spend(left: usize, limit: usize) -> Result<(), Refusal> {
    // The reckoning is exact unless libraries took some of the surplus "optionally": then halves of
    // it are tried, each taking what the ones before left.
    let mut bytes = left;
    let mut problem = String::from("it holds more than was reckoned");
    let mut spent = left == 0;
    while bytes > 0 && !spent {
        match load(bytes) {
            Ok(distance) => spent = distance == limit || load(1).is_err(),
            Err(message) => problem = message,
        }
        bytes /= 2;
    }
    require("static-tls-ballast", spent, || {
        format!("libc's static TLS surplus could not be reserved: {problem}")
    })
}
