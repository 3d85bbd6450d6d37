package localinfra

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeJava makes PATH hold programs that a test wrote, alone.
func fakeJava(t *testing.T, programs map[string]string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "jdk", "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
	return dir
}

// says is the body of a java that calls itself a version.
func says(version, home string) string {
	return `echo "Property settings:" >&2
echo "    java.home = ` + home + `" >&2
echo 'openjdk version "` + version + `" 2025-04-15' >&2`
}

func TestFindJava(t *testing.T) {
	for _, c := range []struct {
		name string
		java map[string]string
		is   error
		says string
	}{
		{"none", nil, ErrNoJava, "need a JDK of version 17 or later"},
		{"too old", map[string]string{"java": says("1.8.0_292", "/x")}, ErrOldJava, `is version "1.8.0_292"`},
		{"a little too old", map[string]string{"java": says("16.0.2", "/x")}, ErrOldJava, `is version "16.0.2"`},
		{"broken", map[string]string{"java": "echo boom >&2; exit 3"}, ErrNoJava, "boom"},
		{"mute", map[string]string{"java": "echo nothing"}, ErrNoJava, "says no version"},
		{"good", map[string]string{"java": says("17.0.15", "/x")}, nil, ""},
		{"early access", map[string]string{"java": says("27-ea", "/x")}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeJava(t, c.java)
			_, err := findJava(t.Context())
			if c.is == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("findJava = %v, want %v in one line with %q", err, c.is, c.says)
			}
		})
	}
	t.Run("JAVA_HOME leads nowhere", func(t *testing.T) {
		fakeJava(t, map[string]string{"java": says("17", "/x")})
		t.Setenv("JAVA_HOME", "/no/such/jdk")
		if _, err := findJava(t.Context()); !errors.Is(err, ErrNoJava) || !strings.Contains(err.Error(), "/no/such/jdk") {
			t.Errorf("findJava = %v, want ErrNoJava that names JAVA_HOME", err)
		}
	})
}

func TestMajorOf(t *testing.T) {
	for version, want := range map[string]int{"17": 17, "17.0.15": 17, "1.8.0_292": 8, "21-ea": 21, "x": 0, "": 0} {
		if got := majorOf(version); got != want {
			t.Errorf("majorOf(%q) = %d, want %d", version, got, want)
		}
	}
}

// TestStartSaysWhatIsMissing goes through Start itself, with an empty cache.
func TestStartSaysWhatIsMissing(t *testing.T) {
	start := func(t *testing.T) error {
		t.Helper()
		o := testPorts(Options{State: t.TempDir(), Cache: t.TempDir()})
		s, err := Start(t.Context(), o)
		if err == nil {
			_ = s.Stop(context.Background())
			t.Fatal("Start went through")
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
		return err
	}
	t.Run("java", func(t *testing.T) {
		fakeJava(t, nil)
		if err := start(t); !errors.Is(err, ErrNoJava) {
			t.Errorf("Start = %v, want ErrNoJava", err)
		}
	})
	t.Run("maven", func(t *testing.T) {
		fakeJava(t, map[string]string{"java": says("17.0.1", "/x"), "javac": "exit 0"})
		if err := start(t); !errors.Is(err, ErrNoMaven) {
			t.Errorf("Start = %v, want ErrNoMaven", err)
		}
	})
	t.Run("compiler", func(t *testing.T) {
		fakeJava(t, map[string]string{"java": says("17.0.1", "/x"), "mvn": "exit 0"})
		if err := start(t); !errors.Is(err, ErrNoCompiler) || !strings.Contains(err.Error(), "17.0.1") {
			t.Errorf("Start = %v, want ErrNoCompiler", err)
		}
	})
	t.Run("maven that fails", func(t *testing.T) {
		fakeJava(t, map[string]string{"java": says("17.0.1", "/x"), "javac": "exit 0", "mvn": "echo '[ERROR] no route to host'; exit 1"})
		o := testPorts(Options{State: t.TempDir(), Cache: t.TempDir()})
		_, err := Start(t.Context(), o)
		if !errors.Is(err, ErrFetch) || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("Start = %v, want ErrFetch with Maven's own words", err)
		}
		if left, _ := filepath.Glob(filepath.Join(o.Cache, ".nacos*")); len(left) > 0 {
			t.Errorf("left in the cache: %q", left)
		}
	})
}

func TestJavaEnviron(t *testing.T) {
	got := javaEnviron([]string{"PATH=/bin", "SERVER_PORT=1", "JAVA_TOOL_OPTIONS=-X", "LC_ALL=C", "NAMESRV_ADDR=x", "HOME=/h", "CLASSPATH=/x"})
	if diff := cmp.Diff([]string{"PATH=/bin", "LC_ALL=C", "HOME=/h"}, got); diff != "" {
		t.Errorf("javaEnviron (-want +got):\n%s", diff)
	}
}
