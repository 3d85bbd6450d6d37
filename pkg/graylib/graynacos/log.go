package graynacos

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdklog "github.com/nacos-group/nacos-sdk-go/v2/common/logger"
	"github.com/nacos-group/nacos-sdk-go/v2/util"
)

// repeatAfter is how long an error of the client isn't logged again: with the server away it repeats each one many times
// a second, while this package says by itself what is away and when it is back.
const repeatAfter = 30 * time.Second

// sdkLogger takes what the stock client logs to slog: its errors as warnings, the rest for debugging. The client's debug
// lines hold whole requests, access tokens included, and are dropped.
//
// It is also where a new connection is noticed. The client tells nobody else of it, and needs to be helped after one: see
// [Registry].
type sdkLogger struct {
	log atomic.Pointer[slog.Logger]

	mu   sync.Mutex
	last map[string]time.Time // by format

	watchMu  sync.Mutex
	watchers map[*Registry]struct{}

	underLock sync.Map // connection name -> func(): see underLock
}

// sdk is the process-wide logger of the client, which has one for all its instances.
var sdk = &sdkLogger{last: make(map[string]time.Time), watchers: make(map[*Registry]struct{})}

// installLogger also lets the client look up this host's address, which it otherwise does without a lock when its first
// connections are made.
var installLogger = sync.OnceFunc(func() {
	sdklog.SetLogger(sdk)
	_ = util.LocalIP()
})

// useLogger sends the client's lines to log from now on.
func useLogger(log *slog.Logger) {
	sdk.log.Store(log)
	installLogger()
}

func (l *sdkLogger) logger() *slog.Logger {
	log := l.log.Load()
	if log == nil {
		log = slog.Default()
	}
	return log.With("component", "nacos-sdk-go")
}

func (l *sdkLogger) watch(r *Registry) {
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	l.watchers[r] = struct{}{}
}

func (l *sdkLogger) unwatch(r *Registry) {
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	delete(l.watchers, r)
}

// reconnectFormat begins the line that the client logs after each reconnect, before it uses the connection
// (rpc_client.go, reconnect). Its first argument is the connection's name.
const reconnectFormat = "%s success to connect a server"

// configConnection begins the names of the config client's connections; the registry's are random.
const configConnection = "config-"

func (l *sdkLogger) noticeReconnect(format string, args []any) {
	if !strings.HasPrefix(format, reconnectFormat) {
		return
	}
	if len(args) > 0 {
		if name, ok := args[0].(string); ok && strings.HasPrefix(name, configConnection) {
			return
		}
	}
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	for r := range l.watchers {
		r.reconnected()
	}
}

// unknownFormat is what the client logs of a connection that it doesn't know, with its name, under the lock of its map
// (rpc_client.go, CreateClient).
const unknownFormat = "init rpc client for name "

func (l *sdkLogger) noticeLock(format string, args []any) {
	if format != unknownFormat || len(args) == 0 {
		return
	}
	if fn, ok := l.underLock.Load(args[0]); ok {
		fn.(func())()
	}
}

// repeated tells whether an error of this kind was logged a short while ago.
func (l *sdkLogger) repeated(kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if at, ok := l.last[kind]; ok && now.Sub(at) < repeatAfter {
		return true
	}
	if len(l.last) > 1000 { // lines without a format are their own kind
		clear(l.last)
	}
	l.last[kind] = now
	return false
}

// quiet is in lines that the client logs as errors and that are none: it can't write its caches, for which it has no folder,
// and it sees a connection end that it closes itself.
var quiet = []string{noFolder, "the client connection is closing"}

func (l *sdkLogger) fail(kind, line string) {
	for _, part := range quiet {
		if strings.Contains(line, part) {
			return
		}
	}
	if l.repeated(kind) {
		l.logger().Debug(line)
		return
	}
	l.logger().Warn(line)
}

// Info implements the client's Logger.
func (l *sdkLogger) Info(args ...any) { l.logger().Debug(fmt.Sprint(args...)) }

// Warn implements the client's Logger.
func (l *sdkLogger) Warn(args ...any) { l.logger().Debug(fmt.Sprint(args...)) }

// Error implements the client's Logger.
func (l *sdkLogger) Error(args ...any) { line := fmt.Sprint(args...); l.fail(line, line) }

// Debug implements the client's Logger.
func (l *sdkLogger) Debug(...any) {}

// Infof implements the client's Logger.
func (l *sdkLogger) Infof(format string, args ...any) {
	l.noticeLock(format, args)
	l.noticeReconnect(format, args)
	l.logger().Debug(fmt.Sprintf(format, args...))
}

// Warnf implements the client's Logger.
func (l *sdkLogger) Warnf(format string, args ...any) { l.logger().Debug(fmt.Sprintf(format, args...)) }

// Errorf implements the client's Logger.
func (l *sdkLogger) Errorf(format string, args ...any) { l.fail(format, fmt.Sprintf(format, args...)) }

// Debugf implements the client's Logger.
func (l *sdkLogger) Debugf(string, ...any) {}

// Close implements the client's Logger.
func (l *sdkLogger) Close() error { return nil }
