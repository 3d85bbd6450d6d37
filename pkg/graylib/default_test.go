package graylib_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib"
)

// clearDefault gives a test a process without a default, a backend, and settings.
func clearDefault(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"GRAY_TAG", "GRAY_INSTANCE", "GRAY_ADDR", "GRAY_ENABLED", "GRAY_NACOS_ADDR", "GRAY_OBSERVER", "GRAY_JOURNAL", "GRAY_MESSAGES",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("GRAY_SERVICE", "a")
	reset := func() { graylib.SetDefault(nil); graylib.RegisterBackend(nil) }
	reset()
	t.Cleanup(reset)
}

// closing is a registry and a source of rules that count how often they were closed.
type closing struct {
	mu     sync.Mutex
	closed int
	err    error
}

func (c *closing) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return c.err
}

type closingRegistry struct {
	graylib.Registry
	*closing
}

func (r closingRegistry) Close() error { return r.closing.Close() }

type closingRules struct {
	graylib.RulesSource
	*closing
}

func (r closingRules) Close() error { return r.closing.Close() }

func TestDefaultIsBuiltOnce(t *testing.T) {
	clearDefault(t)
	t.Setenv("GRAY_TAG", "gray")
	t.Setenv("GRAY_NACOS_ADDR", "n:8848")
	var built int
	graylib.RegisterBackend(func(id graylib.Identity, c graylib.Config, log *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
		built++ // under Default's once
		if id.Tag != "gray" || id.Instance == "" || c.NacosAddr != "n:8848" || log == nil {
			t.Errorf("the backend got %+v, %+v", id, c)
		}
		return nil, nil, nil
	})
	var wg sync.WaitGroup
	runtimes := make([]*graylib.Runtime, 8)
	for i := range runtimes {
		wg.Go(func() {
			rt, err := graylib.Default()
			if err != nil {
				t.Error(err)
			}
			runtimes[i] = rt
		})
	}
	wg.Wait()
	for _, rt := range runtimes {
		if rt == nil || rt != runtimes[0] {
			t.Fatal("there are several defaults")
		}
	}
	if built != 1 {
		t.Errorf("built %d times", built)
	}
	if rt := runtimes[0]; rt.Registry() != nil || rt.Rules() == nil || rt.Identity().Tag != "gray" {
		t.Errorf("registry %v, rules %v, identity %+v", rt.Registry(), rt.Rules(), rt.Identity())
	}
}

func TestDefaultKeepsItsError(t *testing.T) {
	clearDefault(t)
	t.Setenv("GRAY_TAG", "Gray")
	_, err := graylib.Default()
	refused(t, err, "GRAY_TAG", "Gray", "want")
	t.Setenv("GRAY_TAG", "gray")
	_, again := graylib.Default()
	refused(t, again, "GRAY_TAG", "Gray", "want")
	graylib.SetDefault(nil)
	if rt, err := graylib.Default(); err != nil || rt.Identity().Tag != "gray" {
		t.Errorf("built anew: %v, %v", rt, err)
	}
}

func TestSetDefault(t *testing.T) {
	clearDefault(t)
	t.Setenv("GRAY_TAG", "Gray") // what the environment says doesn't matter any more
	rt := newRuntime(t, graylib.Identity{Service: "mine"})
	graylib.SetDefault(rt)
	if got, err := graylib.Default(); got != rt || err != nil {
		t.Errorf("default %v, %v", got, err)
	}
}

// A backend that takes its time must not hold up those that replace the default.
func TestSetDefaultWhileOneIsBuilt(t *testing.T) {
	clearDefault(t)
	t.Setenv("GRAY_NACOS_ADDR", "n:8848")
	building, goOn := make(chan struct{}), make(chan struct{})
	graylib.RegisterBackend(func(graylib.Identity, graylib.Config, *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
		close(building)
		<-goOn
		return nil, nil, nil
	})
	first := make(chan *graylib.Runtime)
	go func() {
		rt, _ := graylib.Default()
		first <- rt
	}()
	<-building
	rt := newRuntime(t, graylib.Identity{Service: "mine"})
	graylib.SetDefault(rt)
	if got, _ := graylib.Default(); got != rt {
		t.Errorf("default %v, want the one set", got)
	}
	if other, err := graylib.Open(graylib.Identity{Service: "x"}, graylib.Config{}, nil); err != nil || other == rt {
		t.Errorf("Open meanwhile: %v, %v", other, err)
	}
	close(goOn)
	if got := <-first; got == nil || got == rt {
		t.Errorf("the call under way returned %v", got)
	}
	if got, _ := graylib.Default(); got != rt {
		t.Error("the one built late replaced the one set")
	}
}

func TestDefaultNeverPanics(t *testing.T) {
	clearDefault(t)
	t.Setenv("GRAY_NACOS_ADDR", "n:8848")
	graylib.RegisterBackend(func(graylib.Identity, graylib.Config, *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
		panic("no such thing")
	})
	for range 2 {
		rt, err := graylib.Default()
		if rt != nil || err == nil || !strings.Contains(err.Error(), "no such thing") {
			t.Errorf("default %v, %v", rt, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	clearDefault(t)
	a := graylib.Identity{Service: "a"}
	_, err := graylib.Open(a, graylib.Config{NacosAddr: "n:8848"}, nil)
	refused(t, err, "GRAY_NACOS_ADDR", "n:8848", "graynacos")
	_, err = graylib.Open(a, graylib.Config{Observer: "n:1"}, nil)
	refused(t, err, "GRAY_OBSERVER", "n:1", "http://")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = graylib.Open(a, graylib.Config{Journal: file}, nil)
	refused(t, err, "GRAY_JOURNAL", file, "folder that can be written to")
	_, err = graylib.Open(a, graylib.Config{Journal: t.TempDir(), Observer: "n:1"}, nil)
	refused(t, err, "GRAY_OBSERVER", "n:1", "http://")
	_, err = graylib.Open(graylib.Identity{}, graylib.Config{}, nil)
	refused(t, err, "GRAY_SERVICE", "", "want")
}

func TestOpenAndClose(t *testing.T) {
	clearDefault(t)
	away, late := errors.New("away"), errors.New("late")
	registry, rules := &closing{err: away}, &closing{err: late}
	backend := func(graylib.Identity, graylib.Config, *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
		return closingRegistry{closing: registry}, closingRules{graylib.StaticRules(nil), rules}, nil
	}
	rt, err := graylib.Open(graylib.Identity{Service: "a"}, graylib.Config{NacosAddr: "n:8848", Observer: "http://127.0.0.1:1"}, backend)
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.Close(); !errors.Is(err, away) || !errors.Is(err, late) {
		t.Errorf("close: %v, want both errors", err)
	}
	if registry.closed != 1 || rules.closed != 1 {
		t.Errorf("registry closed %d times, rules %d times", registry.closed, rules.closed)
	}
	running := goleak.IgnoreCurrent()
	_, err = graylib.Open(graylib.Identity{Service: "a"}, graylib.Config{NacosAddr: "n:8848", Observer: "http://127.0.0.1:1"},
		func(graylib.Identity, graylib.Config, *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
			return nil, nil, away
		})
	if !errors.Is(err, away) {
		t.Errorf("the backend's error is lost: %v", err)
	}
	if err := goleak.Find(running); err != nil {
		t.Errorf("a failed Open leaves the reporter running: %v", err)
	}
}

func TestOpenGivesTheBackendItsLogger(t *testing.T) {
	clearDefault(t)
	log := slog.New(slog.DiscardHandler)
	var got *slog.Logger
	_, err := graylib.Open(graylib.Identity{Service: "a"}, graylib.Config{NacosAddr: "n:8848"},
		func(_ graylib.Identity, _ graylib.Config, l *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
			got = l
			return nil, nil, nil
		}, graylib.WithLogger(log))
	if err != nil || got != log {
		t.Errorf("logger %v, error %v", got, err)
	}
}

func TestRuntimeWithoutAnything(t *testing.T) {
	rt := newRuntime(t, graylib.Identity{Service: "a"}, graylib.WithRules(nil), graylib.WithReporter(nil), graylib.WithLogger(nil), graylib.WithRegistry(nil))
	rt.Report(graylib.Event{Kind: graylib.EventChain})
	if rt.Rules().Revision() != 0 || rt.Logger() == nil || rt.RulesSource() == nil || !rt.Enabled() {
		t.Error("the defaults aren't there")
	}
	table, err := rt.Table(context.Background(), "b")
	refused(t, err, "GRAY_NACOS_ADDR", "", "no registry")
	if table == nil || table.Load().Baseline().Len() != 0 {
		t.Errorf("table %v", table)
	}
	if err := rt.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenWithTheFewestWords: a program that configures graylib itself names what it wants, and no switch.
func TestOpenWithTheFewestWords(t *testing.T) {
	clearDefault(t)
	registry := closingRegistry{closing: &closing{}}
	rt, err := graylib.Open(graylib.Identity{Service: "a"}, graylib.Config{NacosAddr: "n:8848"},
		func(graylib.Identity, graylib.Config, *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
			return registry, graylib.StaticRules(nil), nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if !rt.Enabled() || rt.Registry() == nil || rt.Status().Messages != "on" {
		t.Errorf("enabled %v, registry %v, messages %s; want all of them", rt.Enabled(), rt.Registry(), rt.Status().Messages)
	}
}
