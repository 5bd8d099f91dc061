//! libc's own functions behind the hooks of C's waiting functions.

/// Declares libc's own functions, each with its type; `resolve_all` finds them.
macro_rules! reals {
    ($($name:ident = $symbol:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        mod addresses {
            use gaggle_sys::glibc::symbols::Real;
            $(
                #[allow(non_upper_case_globals, reason = "named as the function")]
                pub static $name: Real = Real::new(
                    // The name with the zero byte that C wants.
                    match std::ffi::CStr::from_bytes_with_nul(
                        concat!(stringify!($symbol), "\0").as_bytes(),
                    ) {
                        Ok(name) => name,
                        Err(_) => panic!("a name has no zero byte"),
                    },
                );
            )*
        }

        /// Finds libc's own functions before the first goroutine.
        pub fn resolve_all() {
            $(addresses::$name.resolve();)*
        }

        $(
            /// libc's own function of this name; the hook's caller vouches for the arguments.
            fn $name($($argument: $type),*) -> $answer {
                type Function = unsafe extern "C-unwind" fn($($type),*) -> $answer;
                let address = addresses::$name.resolve();
                // SAFETY: libc's function of this name has this type.
                let function = unsafe { std::mem::transmute::<usize, Function>(address) };
                // SAFETY: the hook's caller vouches for the arguments.
                unsafe { function($($argument),*) }
            }
        )*
    };
}

pub(super) use reals;
