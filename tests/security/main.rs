//! The gate list of spec 08 as tests on the real binaries: one test for each entry, named by its number, or a place
//! where it is tested, or a line in the table of what is outstanding (`ledger`). Which of the three holds for every
//! number from 1 to 114 is itself a test.
//!
//! The modules are the parts of the chapter. Each test starts one gateway for its whole table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ledger;
mod lint;
mod rig;
mod variants;

mod a_connect;
mod a_epochs;
mod a_scopes;
mod a_secrets;
mod b_origin;
mod c_proxies;
mod d_floods;
mod d_guesses;
mod e_decisions;
mod e_pairing;
mod f_nodes;
mod g_rpc;
mod h_http;
mod l_files;
mod m_logs;
