// Package rules reads, checks, evaluates and publishes the rules document of graychain: which requests belong to which
// lane, who consumes a lane's messages, and which messages are marked by what they say. docs/rules.md describes the
// document for those who write it.
//
// [Parse] reads a document strictly and names every problem with its line, field and value at once; [Compile] makes of it
// the immutable value that a service evaluates ([graylib.Rules]). [CheckTransition] says whether one document may follow
// another, for those who read as for those who publish. [Prepare], [SetConsumer] and [Apply] publish: they keep the
// author's comments and layout, because they edit the text and never write it anew. [Explain] tells why a request is
// coloured as it is.
package rules

//go:generate go run github.com/graychain/graychain/internal/schemagen -root ../../..
