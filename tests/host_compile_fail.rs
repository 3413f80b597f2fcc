//! What the types forbid: each file in `compile_fail` is a mistake that must not
//! compile, with what the compiler says of it beside it. After a change of the
//! toolchain `TRYBUILD=overwrite cargo test --test host_compile_fail` writes that anew.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
