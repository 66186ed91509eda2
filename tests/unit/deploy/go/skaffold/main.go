// Reads a skaffold.yaml as skaffold does, by its own types: no field that they lack, each that they require, one of those
// that exclude each other; then a profile's patches. What comes of it is printed, all in fields' long forms.
//
//	skaffold skaffold.yaml [PROFILE]
package main

import (
	"bytes"
	"fmt"
	"os"
	"reflect"

	"github.com/GoogleContainerTools/skaffold/v2/pkg/skaffold/schema/latest"
	"github.com/GoogleContainerTools/skaffold/v2/pkg/skaffold/yamltags"
	yamlpatch "github.com/krishicks/yaml-patch"
	"gopkg.in/yaml.v3"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	for _, name := range os.Args[2:] {
		if err == nil {
			text, err = patched(text, name)
		}
	}
	if err == nil {
		text, err = checked(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Stdout.Write(text)
}

func parsed(text []byte) (config latest.SkaffoldConfig, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err = decoder.Decode(&config); err == nil && config.APIVersion != latest.Version {
		err = fmt.Errorf("apiVersion is %s, not %s", config.APIVersion, latest.Version)
	}
	return
}

func checked(text []byte) ([]byte, error) {
	config, err := parsed(text)
	if err != nil {
		return nil, err
	}
	if err := validate(reflect.ValueOf(config)); err != nil {
		return nil, err
	}
	return yaml.Marshal(config)
}

// validate looks at every struct below value for what skaffold's tags demand.
func validate(value reflect.Value) error {
	switch value.Kind() {
	case reflect.Struct:
		if err := yamltags.ValidateStruct(value.Interface()); err != nil {
			return err
		}
		for i := 0; i < value.NumField(); i++ {
			if value.Type().Field(i).IsExported() {
				if err := validate(value.Field(i)); err != nil {
					return err
				}
			}
		}
	case reflect.Slice:
		for i := 0; i < value.Len(); i++ {
			if err := validate(value.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		if !value.IsNil() {
			return validate(value.Elem())
		}
	}
	return nil
}

func patched(text []byte, name string) (out []byte, err error) {
	config, err := parsed(text)
	if err != nil {
		return nil, err
	}
	if out, err = yaml.Marshal(config); err != nil {
		return nil, err
	}
	for _, profile := range config.Profiles {
		if profile.Name == name {
			return apply(out, profile.Patches)
		}
	}
	return nil, fmt.Errorf("no profile %s", name)
}

// apply turns the library's panic at a path that is not there into an error, as skaffold does.
func apply(text []byte, patches []latest.JSONPatch) (out []byte, err error) {
	at := ""
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("invalid path: %s", at)
		}
	}()
	out = text
	for _, patch := range patches {
		at = patch.Path
		step := yamlpatch.Operation{Op: yamlpatch.Op(patch.Op), Path: yamlpatch.OpPath(patch.Path), Value: &patch.Value.Node}
		if out, err = (yamlpatch.Patch{step}).Apply(out); err != nil {
			return nil, fmt.Errorf("invalid path: %s", at)
		}
	}
	return
}
