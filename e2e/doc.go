// Package e2e holds the end-to-end tests: the services as processes on the real Nacos and the real RocketMQ, judged by the
// structures that they report, never by logs (where a log line itself is promised, that line is read too).
//
// `make check` gives all tests one pair of servers (internal/testenv/withservers). A test that stops or reconfigures a server,
// or that runs the command `graychain up` itself, starts one of its own, one such test at a time.
// GRAYCHAIN_E2E_FULL=1 (make check-full-chain) runs the figures of the issues in full.
package e2e
