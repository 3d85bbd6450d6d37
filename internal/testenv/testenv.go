// Package testenv tells tests where the servers are that they share. `make check` starts one pair and sets the
// addresses. Without them a test that needs one is skipped and says so; with CI=true it fails instead, so that nothing
// passes because it wasn't run.
package testenv

import (
	"os"
	"testing"
)

// The variables that hold the addresses.
const (
	EnvNacos   = "GRAYCHAIN_TEST_NACOS"   // host:port of a Nacos server without authentication
	EnvNamesrv = "GRAYCHAIN_TEST_NAMESRV" // host:port of a RocketMQ name server whose broker filters by property
)

// Nacos returns the address of the Nacos server for tests. Tests share it: use names of services and documents that no
// other test uses.
func Nacos(t testing.TB) string {
	t.Helper()
	return address(t, EnvNacos, "a Nacos server")
}

// Namesrv returns the address of the RocketMQ name server for tests. Tests share it: use topics and groups that no other
// test uses.
func Namesrv(t testing.TB) string {
	t.Helper()
	return address(t, EnvNamesrv, "a RocketMQ name server and broker")
}

func address(t testing.TB, name, what string) string {
	t.Helper()
	addr, missing := lookup(name, os.Getenv)
	switch missing {
	case mustHave:
		t.Fatalf("%s is not set: with CI=true this test must run on %s (make check starts one)", name, what)
	case maySkip:
		t.Skipf("SKIPPED: %s is not set, and this test needs %s (make check starts one)", name, what)
	}
	return addr
}

// What to do without an address.
type verdict int

const (
	found verdict = iota
	maySkip
	mustHave
)

func lookup(name string, getenv func(string) string) (string, verdict) {
	switch addr := getenv(name); {
	case addr != "":
		return addr, found
	case getenv("CI") == "true":
		return "", mustHave
	default:
		return "", maySkip
	}
}
