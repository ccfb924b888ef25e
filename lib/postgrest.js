class PostgrestTransport {}
module.exports = { PostgrestTransport }
