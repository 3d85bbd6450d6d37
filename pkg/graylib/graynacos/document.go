package graynacos

import (
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// document is one good rules document.
type document struct {
	content string
	doc     *rules.Document
	rules   graylib.Rules
}

// newDocument parses and compiles.
func newDocument(content string) (*document, error) {
	doc, err := rules.Parse([]byte(content))
	if err != nil {
		return nil, err
	}
	compiled, err := rules.Compile(doc)
	if err != nil {
		return nil, err
	}
	return &document{content: content, doc: doc, rules: compiled}, nil
}

// follows tells whether d may take the place of old (nil = there was none), by what its reader knows.
func (d *document) follows(old *document, r rules.Reading) error {
	var before *rules.Document
	if old != nil {
		before = old.doc
	}
	return rules.CheckTransition(before, d.doc, r)
}
