// Command schemagen writes the JSON Schema of the rules document, for editors. Run it by go generate in pkg/graylib/rules.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// schemaFile is where the schema stands, from the root of the repository.
const schemaFile = "docs/rules.schema.json"

func main() {
	root := flag.String("root", ".", "root of the repository")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	schema, err := generate(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, filepath.FromSlash(schemaFile)), schema, 0o644)
}
