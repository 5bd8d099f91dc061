//! Gaggle's attribute macros: `#[gaggle::main]` and `#[gaggle::test]`.
//!
//! Both leave the function as it was written, as an inner function, and put an outer one around it
//! that hands it to the runtime. They are used through the `gaggle` crate, whose path they name.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Error, ItemFn, ReturnType, parse_macro_input};

/// Runs the body of `main` as the main goroutine.
///
/// The function may return whatever `main` may return. Goroutines that still run when it returns end
/// with the process, as in Go.
///
/// ```text
/// #[gaggle::main]
/// fn main() {
///     let answer = gaggle::go(|| 6 * 7);
///     assert_eq!(answer.join().unwrap(), 42);
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Tokens);
    expand(item, "main", |body| {
        if !arguments.is_empty() {
            return Err(Error::new_spanned(
                arguments,
                "#[gaggle::main] takes no arguments",
            ));
        }
        let name = &body.sig.ident;
        let (outer, visibility) = (&body.attrs, &body.vis);
        let inner = inner(body);
        Ok(quote! {
            #(#outer)*
            #visibility fn #name() -> ::std::process::ExitCode {
                #inner
                ::gaggle::testing::main(#name)
            }
        })
    })
}

/// A test whose body runs in a goroutine that has the test's name, and which fails if it leaves
/// goroutines behind: see `gaggle::testing`. `#[gaggle::test(may_leak)]` may leave some.
///
/// The function may return whatever a test may return; `#[should_panic]`, `#[ignore]` and the like
/// work as they do with `#[test]`.
///
/// ```text
/// #[gaggle::test]
/// fn adds() {
///     assert_eq!(gaggle::go(|| 1 + 1).join().unwrap(), 2);
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Tokens);
    expand(item, "test", |body| {
        let may_leak = match arguments.to_string().as_str() {
            "" => false,
            "may_leak" => true,
            _ => {
                return Err(Error::new_spanned(
                    arguments,
                    "#[gaggle::test] knows the argument `may_leak`, for tests that leave goroutines behind",
                ));
            }
        };
        let name = &body.sig.ident;
        let (outer, visibility) = (&body.attrs, &body.vis);
        let inner = inner(body);
        let path = quote!(::std::concat!(
            ::std::module_path!(),
            "::",
            ::std::stringify!(#name)
        ));
        let (output, runner) = match &body.sig.output {
            // `should_panic` insists on a test that answers nothing.
            ReturnType::Default => (quote!(), quote!(test_unit)),
            ReturnType::Type(..) => (quote!(-> ::std::process::ExitCode), quote!(test)),
        };
        Ok(quote! {
            #[::core::prelude::v1::test]
            #(#outer)*
            #visibility fn #name() #output {
                #inner
                ::gaggle::testing::#runner(#path, #may_leak, #name)
            }
        })
    })
}

/// The function as it was written, but for what belongs on the outer one.
fn inner(body: &ItemFn) -> Tokens {
    let (signature, block) = (&body.sig, &body.block);
    quote!(#signature #block)
}

/// Parses, checks, and lets `around` write the outer function; errors point at what is wrong.
fn expand(
    item: TokenStream,
    macro_name: &str,
    around: impl FnOnce(&ItemFn) -> Result<Tokens, Error>,
) -> TokenStream {
    let expanded = syn::parse::<ItemFn>(item).and_then(|body| {
        check(&body, macro_name)?;
        around(&body)
    });
    expanded.unwrap_or_else(Error::into_compile_error).into()
}

fn check(body: &ItemFn, macro_name: &str) -> Result<(), Error> {
    let signature = &body.sig;
    let refuse = |tokens: &dyn quote::ToTokens, what: &str| {
        let message = format!("#[gaggle::{macro_name}] {what}");
        Err(Error::new_spanned(tokens.to_token_stream(), message))
    };
    if let Some(keyword) = &signature.asyncness {
        return refuse(
            keyword,
            "runs a blocking function: leave `async` away, or use `block_on` inside",
        );
    }
    if !signature.inputs.is_empty() {
        return refuse(&signature.inputs, "needs a function without parameters");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "needs a function that is not generic");
    }
    Ok(())
}
