package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
	orderedmap "github.com/pb33f/ordered-map/v2"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

const (
	schemaID     = jsonschema.ID("https://github.com/graychain/graychain/docs/rules.schema.json")
	rulesPackage = "pkg/graylib/rules"
	tagPattern   = "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$"
)

// generate makes the schema of the types of package rules; root is the repository's, for the types' comments.
func generate(root string) ([]byte, error) {
	s, err := reflected(root, &rules.Document{}, rulesPackage, mapped)
	if err != nil {
		return nil, err
	}
	s.ID = schemaID
	s.Title = "Rules document of graychain"
	if err := refine(s); err != nil {
		return nil, err
	}
	return encoded(s)
}

// reflected makes a schema of a type; root is the repository's and pkg the type's package in it, for the types' comments.
func reflected(root string, of any, pkg string, mapper func(reflect.Type) *schema) (*schema, error) {
	r := &jsonschema.Reflector{RequiredFromJSONSchemaTags: true, Mapper: mapper}
	// The comments are found by relative paths alone.
	back, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(root); err != nil {
		return nil, err
	}
	err = r.AddGoComments("github.com/graychain/graychain", "./"+pkg, jsonschema.WithFullComment())
	if backErr := os.Chdir(back); err == nil {
		err = backErr
	}
	if err != nil {
		return nil, err
	}
	for key, comment := range r.CommentMap {
		r.CommentMap[key] = plain(comment)
	}
	return r.Reflect(of), nil
}

// encoded writes a schema as it is committed.
func encoded(s *schema) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// plain makes one line of a doc comment, without links.
func plain(comment string) string {
	return strings.NewReplacer("[", "", "]", "").Replace(strings.Join(strings.Fields(comment), " "))
}

// mapped gives the schema of types that reflection can't tell.
func mapped(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[graylib.Tag]() {
		return &jsonschema.Schema{Type: "string", Pattern: tagPattern, Not: &jsonschema.Schema{Enum: []any{"baseline", "none", "other"}}}
	}
	return nil
}

// refine says what the types don't: what belongs together, and what excludes each other.
func refine(s *jsonschema.Schema) error {
	for _, name := range []string{"Document", "Lane", "Entry", "Condition", "Consumer", "Mark"} {
		if s.Definitions[name] == nil {
			return fmt.Errorf("no type %s in %s", name, rulesPackage)
		}
	}
	// A list whose elements are all commented out is null, and empty.
	for name, fields := range map[string][]string{"Document": {"lanes", "messages", "marks"}, "Lane": {"entries"}} {
		for _, f := range fields {
			list := property(s.Definitions[name], f)
			list.Type = ""
			list.Extras = map[string]any{"type": []string{"array", "null"}}
		}
	}
	lane := s.Definitions["Lane"]
	lane.AllOf = []*schema{{
		If:   &schema{Required: []string{"until"}},
		Then: &schema{Required: []string{"state"}, Properties: properties("state", &schema{Const: graylib.LaneRetired})},
	}}
	for name, field := range map[string]string{"Entry": "service", "Consumer": "consumer", "Mark": "producer"} {
		property(s.Definitions[name], field).Not = &schema{Pattern: `\.rpc$`}
	}
	consumer := s.Definitions["Consumer"]
	property(consumer, "baseline").Enum = list(rules.Modes())
	property(consumer, "baseline").Default = rules.DefaultMode
	consumer.AllOf = []*schema{{
		If:   &schema{Required: []string{"baseline"}, Properties: properties("baseline", &schema{Const: graylib.ModeIgnore})},
		Then: &schema{Required: []string{"ignore"}},
		Else: &schema{Properties: properties("ignore", jsonschema.FalseSchema)},
	}}
	condition := s.Definitions["Condition"]
	delete(s.Definitions, "Condition")
	delete(s.Definitions, "Value")
	for _, place := range []struct {
		definition, user string
		sources          []graylib.From
	}{{"EntryCondition", "Entry", rules.EntrySources()}, {"MarkCondition", "Mark", rules.MarkSources()}} {
		s.Definitions[place.definition] = conditionSchema(condition, place.sources)
		property(s.Definitions[place.user], "when").Items = &schema{Ref: "#/$defs/" + place.definition}
	}
	return nil
}

type schema = jsonschema.Schema

// conditionSchema is the schema of a condition on one of the sources.
func conditionSchema(base *schema, sources []graylib.From) *schema {
	var keyless, keyed []graylib.From
	for _, from := range sources {
		if rules.HasKey(from) {
			keyed = append(keyed, from)
		} else {
			keyless = append(keyless, from)
		}
	}
	one := uint64(1)
	scalar := func() *schema {
		return &schema{Extras: map[string]any{"type": []string{"string", "number", "boolean"}}}
	}
	text := func(pattern string) *schema { return &schema{Type: "string", Pattern: pattern} }
	number := &schema{Type: "number"}
	from, op, value := copied(base, "from"), copied(base, "op"), copied(base, "value")
	from.Type, from.Enum = "string", list(sources)
	op.Type, op.Enum = "string", list(rules.Ops())
	*value = schema{Description: value.Description}
	out := &schema{
		Type: "object", AdditionalProperties: jsonschema.FalseSchema, Required: []string{"from", "op"}, Description: base.Description,
		Properties: properties("from", from, "key", copied(base, "key"), "op", op, "value", value),
		AllOf: []*schema{
			when("from", keyed, &schema{Required: []string{"key"}}),
			when("from", keyless, &schema{Properties: properties("key", jsonschema.FalseSchema)}),
			when("op", []rules.Op{rules.OpExists}, &schema{Properties: properties("value", jsonschema.FalseSchema)}),
			when("op", []rules.Op{rules.OpIn, rules.OpNotIn}, wants(&schema{Type: "array", MinItems: &one, Items: scalar()})),
			when("op", []rules.Op{rules.OpEqual, rules.OpNotEqual}, wants(scalar())),
			when("op", []rules.Op{rules.OpPrefix, rules.OpRegex}, wants(scalar(), &schema{Not: &schema{Const: ""}})),
			when("op", []rules.Op{rules.OpGreater, rules.OpLess}, wants(&schema{AnyOf: []*schema{number, text(`^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$`)}})),
			when("op", []rules.Op{rules.OpPercent}, wants(&schema{AnyOf: []*schema{
				{Type: "number", Minimum: "0", Maximum: "100"}, text(`^([0-9]{1,2}(\.[0-9]{1,2})?|100(\.0{1,2})?)$`),
			}})),
		},
	}
	for _, from := range sources {
		if ops := rules.SourceOps(from); len(ops) < len(rules.Ops()) {
			out.AllOf = append(out.AllOf, when("from", []graylib.From{from}, &schema{Properties: properties("op", &schema{Enum: list(ops)})}))
		}
	}
	return out
}

// when is: where the field has one of the values, then the schema holds.
func when[S ~string](field string, values []S, then *schema) *schema {
	return &schema{If: &schema{Required: []string{field}, Properties: properties(field, &schema{Enum: list(values)})}, Then: then}
}

// wants is: there is a value, and it is all of these.
func wants(all ...*schema) *schema {
	value := all[0]
	if len(all) > 1 {
		value = &schema{AllOf: all}
	}
	return &schema{Required: []string{"value"}, Properties: properties("value", value)}
}

// property returns a field of a type.
func property(s *schema, name string) *schema {
	p, ok := s.Properties.Get(name)
	if !ok {
		panic("schemagen: no field " + name) // the generator doesn't fit the types; its test says so
	}
	return p
}

func copied(s *schema, name string) *schema {
	p := *property(s, name)
	return &p
}

// properties makes an ordered map of pairs name, schema.
func properties(pairs ...any) *orderedmap.OrderedMap[string, *schema] {
	m := jsonschema.NewProperties()
	for i := 0; i < len(pairs); i += 2 {
		m.Set(pairs[i].(string), pairs[i+1].(*schema))
	}
	return m
}

func list[S any](values []S) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}
