package localinfra

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

// site is where one server runs, and with what.
type site struct {
	java    *java
	from    *installed
	dir     string   // data and configuration
	log     string   // standard output and error
	port    int      // the group's main port
	jvm     []string // the archive's argument and the user's
	namesrv string   // of the broker
	config  map[string]string
}

// launch is a server that is ready to be started.
type launch struct {
	spec proc.Spec
	addr string
	// check is called by one goroutine at a time.
	check func(context.Context) error // nil once the server is usable
	// passing tells from the log of a start that failed why a second one may succeed; "" = it won't. nil = it never will.
	passing func(log []string) (why string)
	// clean removes what a failed start may have left that keeps the next one from succeeding; nil = nothing is.
	clean func() error
}

// brokerGrace is what the broker gets to stop. It waits for its threads one by one, mostly idle ones that look up every few
// seconds: 8 to 13 s measured, and more than 20 s where the processor is busy. It saves the consumers' offsets only near the
// end.
const brokerGrace = 40 * time.Second

// stopBatch lets Group.Stop end the three servers together.
const stopBatch = "servers"

// javaSpec is what the servers have in common.
func (s site) javaSpec(name string, grace time.Duration, jvm []string, main string, args ...string) (proc.Spec, error) {
	tmp := filepath.Join(s.dir, "tmp")
	// Native libraries are unpacked here at every start.
	if err := os.RemoveAll(tmp); err != nil {
		return proc.Spec{}, err
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return proc.Spec{}, err
	}
	all := []string{
		// One compiler and one collector without threads of their own to start: the quickest start on few cores.
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-XX:+ExitOnOutOfMemoryError", "-XX:ErrorFile=" + filepath.Join(filepath.Dir(s.log), name+"-crash.log"),
		"-Djava.io.tmpdir=" + tmp,
	}
	all = append(append(append(all, jvm...), s.jvm...), main)
	return proc.Spec{
		Name: name, Path: s.java.path, Args: append(all, args...), Dir: s.dir, Log: s.log, Grace: grace, Batch: stopBatch,
		// In the environment rather than as an argument, it does not fill the screen of whoever looks at the processes.
		Env: append(javaEnviron(os.Environ()), "CLASSPATH="+s.from.classPath()),
	}, nil
}

// opens are the JVM's arguments that open packages of java.base to the servers' reflection.
func opens(packages ...string) []string {
	var out []string
	for _, p := range packages {
		out = append(out, "--add-opens=java.base/"+p+"=ALL-UNNAMED")
	}
	return out
}

// nacosUsed marks a folder in which Nacos has been usable once.
const nacosUsed = "used"

func (s site) nacos() (launch, error) {
	used := filepath.Join(s.dir, nacosUsed)
	clean := func() error {
		if _, err := os.Stat(used); err == nil {
			return nil
		}
		// A Nacos that was killed while it made its database could never start again. Nobody has put anything in yet.
		return os.RemoveAll(filepath.Join(s.dir, "data"))
	}
	if err := clean(); err != nil {
		return launch{}, err
	}
	conf := filepath.Join(s.dir, "conf")
	err := writeProperties(filepath.Join(conf, "application.properties"), map[string]string{
		"nacos.server.main.port":                    strconv.Itoa(s.port),
		"nacos.server.contextPath":                  "/nacos",
		"server.address":                            loopback,
		"nacos.inetutils.ip-address":                loopback,
		"server.tomcat.basedir":                     filepath.Join(s.dir, "tmp"),
		"nacos.core.auth.enabled":                   "false",
		"nacos.core.auth.admin.enabled":             "false",
		"nacos.core.auth.system.type":               "nacos",
		"management.elastic.metrics.export.enabled": "false",
		"management.influx.metrics.export.enabled":  "false",
		// Creating the database takes longer than the usual 3 s where other work has the processor.
		"db.pool.config.connectionTimeout":              "60000",
		"logging.config":                                "classpath:META-INF/logback/nacos.xml",
		"nacos.core.auth.plugin.nacos.token.secret.key": "bm90IGEgc2VjcmV0OiBhdXRoZW50aWNhdGlvbiBpcyBvZmY=", // needed even so; says that
	})
	if err != nil {
		return launch{}, err
	}
	jvm := append([]string{
		"-Xms128m", "-Xmx192m", "-Dnacos.standalone=true", "-Dnacos.home=" + s.dir, "-Dnacos.logs.path=" + filepath.Join(s.dir, "logs"),
		"-Dnacos.remote.grpc.listen.ip=" + loopback, // a system property alone
	}, opens("java.lang", "java.util")...)
	spec, err := s.javaSpec(Nacos, 10*time.Second, jvm, "GraychainNacos", "--spring.config.additional-location=file:"+conf+"/")
	if err != nil {
		return launch{}, err
	}
	addr := address(s.port)
	return launch{spec: spec, addr: addr, clean: clean, passing: databaseLate, check: func(ctx context.Context) error {
		if err := httpOK(ctx, "http://"+addr+"/nacos/v3/admin/core/state/readiness"); err != nil {
			return err
		}
		if err := accepts(ctx, address(s.port+1000)); err != nil {
			return err
		}
		return os.WriteFile(used, nil, 0o644)
	}}, nil
}

// databaseLate recognises a Nacos that gave up because its own database didn't open in time. Seen once, at a restart on two
// cores with a load of 20.
func databaseLate(log []string) string {
	for _, l := range log {
		if strings.Contains(l, "Login timeout exceeded") {
			return "its database didn't open in time (Derby: Login timeout exceeded), as happens on a very busy machine"
		}
	}
	return ""
}

// rocketJVM keeps what the servers write below the user's home in the server's own folder.
func (s site) rocketJVM(jvm ...string) []string {
	return append(jvm, "-Duser.home="+s.dir, "-Drocketmq.home.dir="+s.dir)
}

func (s site) nameServer() (launch, error) {
	conf := filepath.Join(s.dir, "namesrv.conf")
	err := writeProperties(conf, map[string]string{
		"bindAddress":     loopback,
		"listenPort":      strconv.Itoa(s.port),
		"kvConfigPath":    filepath.Join(s.dir, "kvConfig.json"),
		"configStorePath": conf,
	})
	if err != nil {
		return launch{}, err
	}
	// It keeps nothing that the broker does not tell it again, and takes 3 s to end by itself.
	spec, err := s.javaSpec(Namesrv, proc.KillAtOnce, s.rocketJVM("-Xms64m", "-Xmx128m"), "org.apache.rocketmq.namesrv.NamesrvStartup", "-c", conf)
	if err != nil {
		return launch{}, err
	}
	addr := address(s.port)
	return launch{spec: spec, addr: addr, check: func(ctx context.Context) error { return accepts(ctx, addr) }}, nil
}

// brokerDefaults are those of the broker's settings that Options.BrokerConfig may replace.
var brokerDefaults = map[string]string{
	"brokerClusterName":           "graychain",
	"brokerName":                  "broker-a",
	"brokerId":                    "0",
	"enablePropertyFilter":        "true", // SQL92 filters
	"autoCreateTopicEnable":       "true",
	"autoCreateSubscriptionGroup": "true",
	// Small files: the defaults reserve 2.5 GB at the first message.
	"mappedFileSizeCommitLog":    "16777216",
	"mappedFileSizeConsumeQueue": "60000",
	"maxHashSlotNum":             "100000",
	"maxIndexNum":                "400000",
	"diskMaxUsedSpaceRatio":      "95",
	// The queues that the pop protocol revives messages from: each has a thread that the broker
	// waits for when it stops.
	"reviveQueueNum": "1",
	// An idle broker copies the whole timer wheel (38 MB, of messages at arbitrary times) at each flush, once a second: a
	// fifth of a core. Its log is what a restart recovers it from.
	"timerFlushIntervalMs": "60000",
	// A busy machine of two cores is late now and then; a request is then to be late, too, rather than refused.
	"brokerFastFailureEnable":     "false",
	"osPageCacheBusyTimeOutMills": "5000",
}

func (s site) broker() (launch, error) {
	addr := address(s.port)
	values := maps.Clone(brokerDefaults)
	maps.Copy(values, s.config)
	maps.Copy(values, map[string]string{
		"listenPort":         strconv.Itoa(s.port),
		"haListenPort":       strconv.Itoa(s.port + 1),
		"bindAddress":        loopback,
		"brokerIP1":          loopback,
		"brokerIP2":          loopback,
		"namesrvAddr":        s.namesrv,
		"rocketmqHome":       s.dir,
		"storePathRootDir":   filepath.Join(s.dir, "store"),
		"storePathCommitLog": filepath.Join(s.dir, "store", "commitlog"),
	})
	conf := filepath.Join(s.dir, "broker.conf")
	if err := writeProperties(conf, values); err != nil {
		return launch{}, err
	}
	// Each thread that stores messages keeps a buffer of 4 MB outside the heap; transactions and retries have threads of
	// their own, and 256 MB were too little for them.
	jvm := append([]string{"-Xms128m", "-Xmx256m", "-XX:MaxDirectMemorySize=768m"},
		opens("java.lang", "java.nio", "jdk.internal.ref", "sun.nio.ch")...)
	spec, err := s.javaSpec(Broker, brokerGrace, s.rocketJVM(jvm...), "org.apache.rocketmq.broker.BrokerStartup", "-c", conf)
	if err != nil {
		return launch{}, err
	}
	var asked time.Time
	return launch{spec: spec, addr: addr, check: func(ctx context.Context) error {
		if err := accepts(ctx, addr); err != nil {
			return err
		}
		err := routed(ctx, s.namesrv, readyTopic, addr)
		if err != nil && time.Since(asked) > time.Second {
			// It was up before the name server, or registers just now.
			if registerNow(ctx, addr) == nil {
				asked = time.Now()
			}
		}
		return err
	}}, nil
}

// readyTopic is a topic that each broker has; the name server has its route once the broker has registered.
const readyTopic = "SELF_TEST_TOPIC"

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// accepts tells whether something listens at an address.
func accepts(ctx context.Context, addr string) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// plainHTTP asks servers of this machine: no proxy stands between, and no connection outlives its request.
var plainHTTP = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   3 * time.Second,
}

// httpOK tells whether a URL answers with 200.
func httpOK(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := plainHTTP.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
