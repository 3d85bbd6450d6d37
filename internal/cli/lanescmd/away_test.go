package lanescmd

import (
	"errors"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// TestNoEndWithoutAMaster: no lane ends while only a replica of some broker is registered, though all others can be asked.
func TestNoEndWithoutAMaster(t *testing.T) {
	const clusterInfo, allGroups = 106, 201
	server := remotingtest.Start(t)
	server.Handle(clusterInfo, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: []byte(`{"brokerAddrTable":{
			"broker-a":{"brokerName":"broker-a","brokerAddrs":{0:"` + server.Addr + `",1:"127.0.0.1:1"}},
			"broker-b":{"brokerName":"broker-b","brokerAddrs":{1:"127.0.0.1:1"}}}}`)}
	})
	server.Handle(allGroups, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: []byte(`{"subscriptionGroupTable":{}}`)}
	})
	reader, err := lanestate.Open(remoting.Config{NameServers: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	e := &ending{sources: &sources{reader: reader}, tag: "gray"}
	if _, err := e.where(t.Context()); !errors.Is(err, errBrokerAway) || !strings.Contains(err.Error(), "broker-b has no master") {
		t.Errorf("got %v, want errBrokerAway for broker-b", err)
	}
}
