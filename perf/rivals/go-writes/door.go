package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// putTimeout is far more than a write takes on a slow disk.
const putTimeout = 10 * time.Second

// door is one client's own connection to one member. put returns when the write is committed and
// applied.
type door interface {
	put(key, value string) error
	leads() (bool, error)
	close()
}

func openDoor(s server, address string) (door, error) {
	if s.grpc {
		return openEtcdDoor(address)
	}
	return openHTTPDoor(address), nil
}

func closeAll(doors []door) {
	for _, door := range doors {
		door.close()
	}
}

// httpDoor speaks as the raft server does.
type httpDoor struct {
	base   string
	client *http.Client
}

func openHTTPDoor(address string) door {
	// One connection, kept.
	transport := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}
	return &httpDoor{"http://" + address, &http.Client{Transport: transport, Timeout: putTimeout}}
}

func (d *httpDoor) put(key, value string) error {
	_, err := d.ask(http.MethodPut, "/kv/"+key, value)
	return err
}

func (d *httpDoor) leads() (bool, error) {
	body, err := d.ask(http.MethodGet, "/status", "")
	if err != nil {
		return false, err
	}
	var status struct{ ID, Leader string }
	if err := json.Unmarshal(body, &status); err != nil {
		return false, err
	}
	return status.ID == status.Leader, nil
}

func (d *httpDoor) ask(method, path, body string) ([]byte, error) {
	request, err := http.NewRequest(method, d.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return answer, err
}

func (d *httpDoor) close() {
	d.client.CloseIdleConnections()
}

// etcdDoor is etcd's own client.
type etcdDoor struct {
	address string
	client  *clientv3.Client
}

func openEtcdDoor(address string) (door, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{"http://" + address},
		DialTimeout: putTimeout,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		return nil, err
	}
	return &etcdDoor{address, client}, nil
}

func (d *etcdDoor) put(key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
	defer cancel()
	_, err := d.client.Put(ctx, key, value)
	return err
}

func (d *etcdDoor) leads() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
	defer cancel()
	status, err := d.client.Status(ctx, "http://"+d.address)
	if err != nil {
		return false, err
	}
	return status.Leader == status.Header.MemberId, nil
}

func (d *etcdDoor) close() {
	_ = d.client.Close()
}
