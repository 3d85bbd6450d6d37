package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// machine is what the figures were measured on.
type machine struct {
	processor, system, memory, load, goVersion string
	processors                                 int
	when                                       time.Time
	modules                                    map[string]string // versions
}

func describe() machine {
	m := machine{
		processor: field("/proc/cpuinfo", "model name"), memory: field("/proc/meminfo", "MemTotal"),
		system: runtime.GOOS + "/" + runtime.GOARCH, goVersion: runtime.Version(),
		processors: runtime.GOMAXPROCS(0), when: time.Now().UTC(), modules: map[string]string{},
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.system += ", kernel " + strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(b)); len(f) >= 3 {
			m.load = strings.Join(f[:3], ", ")
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			m.modules[d.Path] = d.Version
		}
	}
	return m
}

// field returns the value of the first line "name: value" of a file, or "unknown".
func field(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "unknown"
}
