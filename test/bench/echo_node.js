// The echo and HTTP servers on node: net and http, each as its manual shows it.
//
// How it works: `echo_node.js echo|http`.  The echo writes what comes, and stops reading while the
// socket does not take it; http answers by res.end, with its own parser and headers.
'use strict';

const http = require('http');
const net = require('net');

const BODY = 'Hello, ferry\n';

function echo(socket) {
    socket.on('data', (data) => {
        if (!socket.write(data))
            socket.pause();
    });
    socket.on('drain', () => socket.resume());
    socket.on('error', () => socket.destroy());
}

function page(request, response) {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': BODY.length });
    response.end(BODY);
}

const servers = {
    echo: () => net.createServer({ noDelay: true }, echo),
    http: () => http.createServer({ noDelay: true }, page),
};

if (!(process.argv[2] in servers)) {
    console.error('usage: echo_node.js echo|http');
    process.exit(2);
}
const server = servers[process.argv[2]]();
server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, () => {
    console.log(`${server.address().port} ${process.pid}`);
});
