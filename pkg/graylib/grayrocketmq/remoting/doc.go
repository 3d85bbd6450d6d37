// Package remoting speaks the part of RocketMQ's remoting protocol that graylib needs and that the Go client keeps to
// itself: routes, a group's offsets, queue locks, a group's members, subscription checks, and the creation of groups and
// topics. It doesn't send or consume messages.
//
// A frame is a 4 byte length, a 4 byte header length whose first byte names the header's codec (JSON here), the header,
// and the body: https://github.com/apache/rocketmq/blob/develop/docs/en/Design_Remoting.md. One [Client] keeps one
// connection per address, over which requests run side by side, told apart by their opaque number.
package remoting
