/* Door of the api room: dialects (OpenAI, Cerebras) <-> one neutral request and one neutral event.
 *
 * Pure functions over the caller's memory: no sockets, no engine, no clock, no locks. Any thread;
 * one object is used by one thread at a time. What a server does with it, in order:
 *
 *   api_route_find          method + target -> which endpoint, model id, 404/405   endpoint.h
 *   api_key_find            which header carries the key                           header_list.h
 *   api_parse               body -> struct api_request, or a struct err            dialect.h
 *   api_check_tokens/...    what only the model knows: vocabulary, context         request.h
 *   api_reply_new           then api_reply_event for every event: bytes of a       reply.h
 *   api_reply_body          stream; without stream, the body at the end
 *   api_receipt_put         energy and cost, as clients read them                   receipt_text.h
 *   api_error_body          a struct err -> body and status                        dialect.h
 *
 * and beside that lists of models, text tools and the engine's state. The contract's tables
 * (fields, headers, routes, errors) are tables here too; docs/api.md is checked against them. */
#ifndef API_API_H
#define API_API_H

#include "api/dialect.h"
#include "api/endpoint.h"
#include "api/engine_body.h"
#include "api/header_list.h"
#include "api/model_list.h"
#include "api/receipt_text.h"
#include "api/relayed.h"
#include "api/reply.h"
#include "api/request.h"
#include "api/splice.h"
#include "api/sse.h"
#include "api/text_tools.h"
#include "api/trace_context.h"
#include "api/wire_error.h"

#endif
