package localinfra

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What the machine lacks. Each message says what is needed.
var (
	// ErrNoJava means that there is no java.
	ErrNoJava = errors.New("no Java found: the real servers need a JDK of version 17 or later; put its java into PATH or set JAVA_HOME")
	// ErrOldJava means that the Java found is too old.
	ErrOldJava = errors.New("this Java is too old: the real servers need a JDK of version 17 or later")
	// ErrNoCompiler means that the Java found is a runtime without its compiler.
	ErrNoCompiler = errors.New("this Java has no compiler (javac): it is a JRE; the real servers need a whole JDK, once")
	// ErrNoMaven means that there is no mvn.
	ErrNoMaven = errors.New("no Maven found: the real servers' jars are fetched with it, once; put mvn into PATH")
)

// oldestJava is the version that Nacos 3 is compiled for.
const oldestJava = 17

// javaLimit bounds the question for a version.
const javaLimit = 20 * time.Second

// java is an installed Java.
type java struct {
	path    string // of the launcher
	home    string
	version string // as it calls itself: 17.0.15
	build   string // all that it says of itself; archives fit one build alone
}

var versionLine = regexp.MustCompile(`version "([^"]+)"`)

// findJava looks for a Java in JAVA_HOME, then in PATH, and asks it for its version.
func findJava(ctx context.Context) (*java, error) {
	var path string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path = filepath.Join(home, "bin", "java")
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%w (JAVA_HOME is %q, which has no bin/java)", ErrNoJava, home)
		}
	} else {
		var err error
		if path, err = exec.LookPath("java"); err != nil {
			return nil, ErrNoJava
		}
	}
	ctx, cancel := context.WithTimeout(ctx, javaLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-XshowSettings:properties", "-version")
	cmd.Env = javaEnviron(os.Environ())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w (%q does not run: %w: %s)", ErrNoJava, path, err, lastLine(out))
	}
	j := &java{path: path}
	for line := range strings.Lines(string(out)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok && key == "java.home" {
			j.home = value
		}
	}
	found := versionLine.FindSubmatchIndex(out)
	if found == nil {
		return nil, fmt.Errorf("%w (%q says no version: %s)", ErrNoJava, path, lastLine(out))
	}
	j.version = string(out[found[2]:found[3]])
	j.build = strings.TrimSpace(string(out[found[0]:]))
	if major := majorOf(j.version); major < oldestJava {
		return nil, fmt.Errorf("%w (%q is version %q)", ErrOldJava, path, j.version)
	}
	return j, nil
}

// majorOf gives 17 for 17.0.15, 8 for 1.8.0_292, and 0 for what is no version.
func majorOf(version string) int {
	rest := strings.TrimPrefix(version, "1.")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, _ := strconv.Atoi(rest[:end])
	return n
}

// tool finds a program of the JDK beside its java; empty where there is none.
func (j *java) tool(name string) string {
	for _, dir := range []string{filepath.Join(j.home, "bin"), filepath.Dir(j.path)} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// compiler finds the javac.
func (j *java) compiler() (string, error) {
	if path := j.tool("javac"); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("%w (%q is version %q)", ErrNoCompiler, j.path, j.version)
}

// findMaven looks for mvn in PATH.
func findMaven() (string, error) {
	path, err := exec.LookPath("mvn")
	if err != nil {
		return "", ErrNoMaven
	}
	return path, nil
}

// javaEnviron is what of an environment a server gets. Spring takes its settings from any variable (SERVER_PORT and the
// like), RocketMQ from some, and the JVM from JAVA_TOOL_OPTIONS; so all but what is needed is left out.
func javaEnviron(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		key, _, _ := strings.Cut(kv, "=")
		switch {
		case key == "PATH", key == "HOME", key == "USER", key == "LANG", key == "TZ", key == "LD_LIBRARY_PATH", strings.HasPrefix(key, "LC_"):
			kept = append(kept, kv)
		}
	}
	return kept
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
