//! Where an OS thread may run: its affinity mask, and the processor that the caller is on.

use crate::call::raw;

/// Words of a mask: 1,024 processors, as glibc's `cpu_set_t`.
const WORDS: usize = 16;

/// A set of the machine's processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask([u64; WORDS]);

impl Mask {
    /// Just this processor.
    pub fn only(processor: usize) -> Mask {
        let mut mask = Mask::default();
        if let Some(word) = mask.0.get_mut(processor / 64) {
            *word = 1 << (processor % 64);
        }
        mask
    }

    /// Whether it has this processor.
    pub fn has(&self, processor: usize) -> bool {
        let word = self.0.get(processor / 64);
        word.is_some_and(|word| word >> (processor % 64) & 1 == 1)
    }

    /// How many processors it has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The processor that the caller runs on, or did a moment ago.
pub fn current_processor() -> usize {
    let mut processor = 0u32;
    // SAFETY: the kernel writes one number; the two other pointers may be null.
    unsafe {
        raw(
            libc::SYS_getcpu,
            [&raw mut processor as usize, 0, 0, 0, 0, 0],
        )
    };
    processor as usize
}

/// The mask of an OS thread of this process (0: the caller's); `None` when there is no such thread.
pub fn mask_of(thread_id: i32) -> Option<Mask> {
    let mut mask = Mask::default();
    let arguments = [
        thread_id as usize,
        size_of::<Mask>(),
        &raw mut mask as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes at most as many bytes as the mask has.
    let written = unsafe { raw(libc::SYS_sched_getaffinity, arguments) };
    (written > 0).then_some(mask)
}

/// Sets the mask of an OS thread of this process (0: the caller's); whether the kernel agreed.
pub fn set_mask(thread_id: i32, mask: &Mask) -> bool {
    let arguments = [
        thread_id as usize,
        size_of::<Mask>(),
        std::ptr::from_ref(mask) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel reads the mask's bytes.
    unsafe { raw(libc::SYS_sched_setaffinity, arguments) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_mask_has_the_processor_it_runs_on() {
        let mask = mask_of(0).expect("the caller exists");
        assert!(!mask.is_empty());
        let here = current_processor();
        assert!(mask.has(here));
        assert!(Mask::only(here).has(here));
        assert_eq!(Mask::only(here).len(), 1);
        assert!(set_mask(0, &Mask::only(here)));
        assert_eq!(current_processor(), here);
        assert!(set_mask(0, &mask));
    }
}
