//! Shared helpers of `tests/e2e` and `tests/interop`.

pub mod background;
pub mod binary;
pub mod client;
pub mod command;
pub mod device;
pub mod frames;
pub mod gateway;
pub mod http;
pub mod model;
pub mod packages;
pub mod terminal;

use std::time::Duration;

/// How long a test waits for something that must come. Nothing is measured with it: it only ends a test that
/// would hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Writes each test of the list once for every program.
#[macro_export]
macro_rules! on_every_runtime {
    ($($test:ident),* $(,)?) => {
        $crate::on_both_binaries!($($test),*);
        mod telson_async_std {
            $( #[test] fn $test() { super::$test($crate::support::binary::Binary::TelsonAsyncStd); } )*
        }
    };
}

/// Writes each test of the list once for every binary that is shipped.
#[macro_export]
macro_rules! on_both_binaries {
    ($($test:ident),* $(,)?) => {
        mod telson {
            $( #[test] fn $test() { super::$test($crate::support::binary::Binary::Telson); } )*
        }
        mod telson_lite {
            $( #[test] fn $test() { super::$test($crate::support::binary::Binary::TelsonLite); } )*
        }
    };
}
