// Reads the Prometheus operator's objects among the YAML documents on stdin into its own types; an unknown field is an
// error. Prints how many there were.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func main() {
	found := 0
	documents := utilyaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = read(text, &found)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fmt.Println(found)
}

func read(text []byte, found *int) error {
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return err
	}
	if kind.APIVersion != "monitoring.coreos.com/v1" {
		return nil
	}
	objects := map[string]any{"PodMonitor": &monitoring.PodMonitor{}, "PrometheusRule": &monitoring.PrometheusRule{}}
	object, known := objects[kind.Kind]
	if !known {
		return fmt.Errorf("%s: not looked at here", kind.Kind)
	}
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		return fmt.Errorf("%s: %w", kind.Kind, err)
	}
	*found++
	return nil
}
