// Package localinfra fetches the real servers, Nacos 3.1.0 and RocketMQ 5.3.3 (name server and broker), once, with Maven,
// into a cache folder, and runs them as Java processes of a proc.Group, so that they end with the program.
//
// Start brings all three up at the same time and returns when they are usable: Nacos says that it is ready and accepts
// gRPC; the broker accepts and stands in the name server's routes.
//
// # Ports
//
// Each server has a group of ports that moves together, ten at a time, where one of it is taken:
//
//	nacos     P (8848) HTTP, P+1000 gRPC of clients, P+1001 gRPC of servers, P-1000 Raft
//	namesrv   P (9876)
//	broker    P (10911), P-2 for clients that use the VIP channel, P+1 for replicas
//
// All are bound to 127.0.0.1, except two for which the servers have no setting and which are open on every interface:
// Nacos's Raft port P-1000 (github.com/alibaba/nacos/issues/12263) and the broker's replica port P+1. Nothing needs them
// on one machine; where that matters, a firewall has to close them.
//
// # Start-up time
//
// After the first fetch each server is started once to record the classes that it loads (an AppCDS archive, about 125 MB
// in the cache for both), which saves about a third of the processor time of every later start. An archive that does not
// fit the JDK or the jars any more, or is damaged, is not used but made again by the next Start.
package localinfra
