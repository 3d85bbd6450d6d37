package doctorcmd

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/internal/testenv"
)

func TestMain(m *testing.M) {
	proc.GuardMain() // the test binary guards the servers that a test starts
	os.Exit(m.Run())
}

// TestSharedBroker: the tests' own broker has nothing to mend.
func TestSharedBroker(t *testing.T) {
	namesrv := testenv.Namesrv(t)
	s := good(t)
	s.instances = nil
	lines, err := s.doctor(t, "--namesrv", namesrv)
	if err != nil || len(lines) == 0 || lines[0] != "· instances none live" {
		t.Errorf("%v\n%s", err, strings.Join(lines, "\n"))
	}
}

// TestBrokerWithoutAnything checks a broker of its own that neither filters by property nor creates anything by itself,
// creates what is missing, and checks again.
func TestBrokerWithoutAnything(t *testing.T) {
	if os.Getenv("GRAYCHAIN_E2E_FULL") != "1" {
		t.Skip("starts servers of its own: make check-full-lanes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	servers, err := localinfra.Start(ctx, localinfra.Options{
		State: t.TempDir(), Discard: true, NoNacos: true, ReadyLimit: 4 * time.Minute,
		Namesrv: localinfra.Port{Number: 24876}, Broker: localinfra.Port{Number: 24911},
		BrokerConfig: map[string]string{"enablePropertyFilter": "false", "autoCreateTopicEnable": "false", "autoCreateSubscriptionGroup": "false"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = servers.Stop(ctx)
	})
	s := good(t) // its Nacos; its instances' consumer is of group g and topic T
	look := func(args ...string) (failures []string, err error) {
		lines, err := s.doctor(t, append(args, "--namesrv", servers.NamesrvAddr())...)
		for _, l := range lines {
			if strings.HasPrefix(l, "✘") {
				failures = append(failures, strings.ReplaceAll(l, servers.BrokerAddr(), "BROKER"))
			}
		}
		return failures, err
	}
	noFilter := "✘ broker broker-a at BROKER doesn't filter by property (enablePropertyFilter is off); the consumers g need it"
	got, err := look()
	want := []string{
		noFilter, "✘ topic T of g doesn't exist, and the brokers don't create topics by themselves",
		"✘ groups not there, and the brokers don't create groups by themselves: g, g__tagged, g_gray",
	}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, target.ErrReported) {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err = look("--create"); !cmp.Equal([]string{noFilter}, got) {
		t.Errorf("--create: %v, %q; want that the filter alone fails", err, got)
	}
	deadline := time.Now().Add(30 * time.Second) // the name server hears of the topic a little later
	for got, _ = look(); !cmp.Equal([]string{noFilter}, got) && time.Now().Before(deadline); got, _ = look() {
	}
	if diff := cmp.Diff([]string{noFilter}, got); diff != "" {
		t.Errorf("after it was created (-want +got):\n%s", diff)
	}
	if err := servers.Broker.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err = look(); !errors.Is(err, target.ErrReported) || len(got) == 0 {
		t.Errorf("without the broker: %v, %q", err, got)
	}
	t.Logf("without the broker: %q", got)
}
