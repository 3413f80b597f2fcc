//! The attributes `#[stillpoint::main]` and `#[stillpoint::test]`.
//!
//! Both leave the function as it is written, but for `#[inline(never)]`, by which it has its name
//! in a backtrace, and add a `const _` behind it, which is only there on the target. What that names is in `stillpoint::api`; the names begin with
//! `::stillpoint`, so a program may not rename the dependency. On a host, where a program is only
//! checked, `main` is a function that does nothing, because what `main` may return there is
//! another matter.
//!
//! The functions are read token by token: only the attributes, the name and the parameters
//! matter, for which a parser of all of Rust is not worth its compilation.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// Names the function that the first thread runs once the CPUs are up.
///
/// The function has no parameters. Its return type implements `stillpoint::api::Termination`:
/// nothing, an `ExitStatus`, or a `Result`. When the function returns, the machine ends with
/// the status that the value stands for.
///
/// In a build of `cargo test` the program's tests run instead: see [`macro@test`].
///
/// ```no_run
/// #![no_std]
/// #![no_main]
///
/// #[stillpoint::main]
/// fn main() {
///     stillpoint::println!("{} CPUs", stillpoint::api::cpu::online_racy().count());
/// }
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, |function| {
        if let Some(attribute) = function.of_tests.first() {
            return Err(Wrong::new("this attribute is for tests", attribute.span()));
        }
        Ok("
            #[cfg(target_os = \"none\")]
            #[inline(never)]
            ITEM
            #[cfg(all(target_os = \"none\", not(test)))]
            const _: () = { ::stillpoint::entry!(FUNCTION); };
            #[cfg(all(target_os = \"none\", test))]
            const _: () = { let _: fn() -> _ = FUNCTION; ::stillpoint::test_main!(); };
            #[cfg(not(target_os = \"none\"))]
            fn main() {}
            // On a host the function is only checked: nothing calls it.
            #[cfg(not(target_os = \"none\"))]
            const _: () = { #[allow(dead_code)] ITEM };
        "
        .to_owned())
    })
}

/// Makes a function a test, which `cargo test` runs on the machine.
///
/// The function has no parameters. The test fails if the function panics, or returns an `Err`
/// or an `ExitStatus` other than success. `#[ignore]` and `#[should_panic]`, both without
/// arguments, mean what they do in Rust's own tests.
///
/// The manifest says `harness = false` for the program or the file of tests, because Rust's own
/// harness needs `std`. The tests of a program stand beside its `#[stillpoint::main]`, under
/// `#[cfg(test)]`; a file in `tests/` says `stillpoint::test_main!()` once.
///
/// ```no_run
/// #[cfg(test)]
/// mod tests {
///     #[stillpoint::test]
///     fn every_cpu_is_online() {
///         use stillpoint::api::cpu;
///         assert_eq!(cpu::online_racy(), cpu::possible());
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments, item, |function| {
        let has = |name| function.of_tests.iter().any(|it| it.to_string() == name);
        Ok(format!(
            "
            #[inline(never)]
            // On a host the function is only checked: nothing calls it.
            #[cfg_attr(not(target_os = \"none\"), allow(dead_code))]
            ITEM
            #[cfg(target_os = \"none\")]
            const _: () = {{
                #[used]
                #[unsafe(link_section = \".stillpoint_tests\")]
                static TEST: ::stillpoint::api::Test = ::stillpoint::api::Test::new(
                    ::core::concat!(::core::module_path!(), \"::\", ::core::stringify!(FUNCTION)),
                    || ::stillpoint::api::Termination::report(FUNCTION()).code(),
                    {},
                    {},
                );
            }};
            ",
            has("ignore"),
            has("should_panic"),
        ))
    })
}

/// Stands for the function's name in the text that an attribute becomes.
const FUNCTION: &str = "FUNCTION";
/// Stands for the function there.
const ITEM: &str = "ITEM";

/// The attributes of a test that Rust's own harness knows, too.
const OF_TESTS: [&str; 2] = ["ignore", "should_panic"];

/// A function that an attribute of this crate stands before.
struct Function {
    name: Ident,
    /// The names of its attributes that are in [`OF_TESTS`].
    of_tests: Vec<Ident>,
    /// The function, without those attributes.
    rest: TokenStream,
}

/// A mistake in a program.
struct Wrong {
    why: &'static str,
    /// Where it is.
    span: Span,
}

impl Wrong {
    fn new(why: &'static str, span: Span) -> Wrong {
        Wrong { why, span }
    }
}

/// Returns the text that `expand_fn` returns for the function `item`, with the function in the
/// place of [`ITEM`], and its name in that of [`FUNCTION`]. If there is a mistake, it returns the
/// item and a `compile_error!`.
fn expand(
    arguments: TokenStream,
    item: TokenStream,
    expand_fn: impl FnOnce(&Function) -> Result<String, Wrong>,
) -> TokenStream {
    let whole = item.clone();
    let expanded = match arguments.into_iter().next() {
        Some(first) => Err(Wrong::new("this attribute has no arguments", first.span())),
        None => read(item).and_then(|function| {
            let text = expand_fn(&function)?;
            Ok(filled(parse(&text), &function))
        }),
    };
    expanded.unwrap_or_else(|Wrong { why, span }| {
        let error = parse(&format!("::core::compile_error!({why:?});"));
        let mut all = whole;
        all.extend(error.into_iter().map(|mut token| {
            token.set_span(span);
            token
        }));
        all
    })
}

/// Returns the tokens of `text`, which this file has written.
fn parse(text: &str) -> TokenStream {
    text.parse()
        .expect("BUG: an attribute adds what is no Rust")
}

/// Returns `tokens` with `function` in the place of [`ITEM`], and its name in that of
/// [`FUNCTION`].
fn filled(tokens: TokenStream, function: &Function) -> TokenStream {
    let parts = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(ident) if ident.to_string() == FUNCTION => {
            TokenTree::from(function.name.clone()).into()
        }
        TokenTree::Ident(ident) if ident.to_string() == ITEM => function.rest.clone(),
        TokenTree::Group(group) => {
            let inside = filled(group.stream(), function);
            TokenTree::from(Group::new(group.delimiter(), inside)).into()
        }
        other => TokenStream::from(other),
    });
    parts.collect()
}

/// Reads a function: its attributes, and its head up to the parameters.
fn read(item: TokenStream) -> Result<Function, Wrong> {
    const NO_FUNCTION: &str = "this attribute is for a function";
    let mut of_tests = Vec::new();
    let mut rest = Vec::new();
    let mut name = None;
    let mut tokens = item.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let inside = match (&token, tokens.peek()) {
            (TokenTree::Punct(hash), Some(TokenTree::Group(group))) if hash.as_char() == '#' => {
                attribute_of_tests(group)?
            }
            _ => None,
        };
        if let Some(attribute) = inside {
            of_tests.push(attribute);
            tokens.next();
            continue;
        }
        if let (TokenTree::Ident(word), Some(next)) = (&token, tokens.peek()) {
            match word.to_string().as_str() {
                "fn" => {
                    let TokenTree::Ident(of_function) = next else {
                        return Err(Wrong::new(NO_FUNCTION, next.span()));
                    };
                    name = Some(of_function.clone());
                }
                "async" | "unsafe" | "extern" => {
                    return Err(Wrong::new("this has to be a plain function", word.span()));
                }
                "struct" | "enum" | "static" | "mod" | "impl" | "trait" | "type" | "use" => {
                    return Err(Wrong::new(NO_FUNCTION, word.span()));
                }
                _ => {}
            }
        }
        rest.push(token);
        if name.is_some() {
            break;
        }
    }
    let Some(name) = name else {
        return Err(Wrong::new(NO_FUNCTION, Span::call_site()));
    };
    // The name itself, then the parameters.
    rest.extend(tokens.next());
    match tokens.peek() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            if !group.stream().is_empty() {
                return Err(Wrong::new("this function has no parameters", group.span()));
            }
        }
        _ => return Err(Wrong::new("this has to be a plain function", name.span())),
    }
    rest.extend(tokens);
    let rest = rest.into_iter().collect();
    Ok(Function {
        name,
        of_tests,
        rest,
    })
}

/// Returns the name of the attribute whose brackets are `group`, if it is in [`OF_TESTS`].
fn attribute_of_tests(group: &Group) -> Result<Option<Ident>, Wrong> {
    let mut tokens = group.stream().into_iter();
    match tokens.next() {
        Some(TokenTree::Ident(name)) if OF_TESTS.contains(&name.to_string().as_str()) => {
            match tokens.next() {
                None => Ok(Some(name)),
                Some(more) => Err(Wrong::new(
                    "here this attribute has no arguments",
                    more.span(),
                )),
            }
        }
        _ => Ok(None),
    }
}
