/* clang-format off */
/* What a caller gets for each thing that can go wrong, in the order of a call's
 * life. test_errors.c makes all of it happen; docs/errors.md has the table, and
 * tests/lint/test_errors.py compares the two.
 *
 * CASE(moment, event, code, category, advice): the event happens for as long as
 * the client asks, and is one of
 *   JSON(status, detail)    the service refuses, in its own words
 *   PAGE(status)            something in between answers
 *   BODY(status, text)      a reply of this text
 *   ENDED(category, error)  the call was carried out badly
 *   LOST(error)             the request may have arrived, no answer came
 *   UNSENT(error)           the request did not go out
 * advice: r retriable, f fatal for its trainer, u outcome unknown, n needs
 * recovery. */

/* client/config, the first request of a client. */
CASE(config, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(config, UNSENT(ETLS), ETLS, UNKNOWN, "")
CASE(config, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "r")
CASE(config, LOST(ETIMEDOUT), ETRANSPORT, UNKNOWN, "r")
CASE(config, BODY(200, "[]"), EPROTO, UNKNOWN, "")
CASE(config, PAGE(200), EPROTO, UNKNOWN, "r")
CASE(config, PAGE(404), EPROTO, UNKNOWN, "r")
CASE(config, JSON(401, "no such key"), EAUTH, USER, "")
CASE(config, JSON(403, "not allowed"), EREJECTED, USER, "")
CASE(config, JSON(404, "Not Found"), ENOTSUP, USER, "")
CASE(config, JSON(429, "slow down"), EREJECTED, SERVER, "r")
CASE(config, JSON(503, "down"), ESERVER, SERVER, "r")

/* create_session: a mutation without a number. */
CASE(create_session, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(create_session, UNSENT(ETLS), ETLS, UNKNOWN, "r")
CASE(create_session, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "u")
CASE(create_session, BODY(200, "{}"), EPROTO, UNKNOWN, "u")
CASE(create_session, PAGE(403), EPROTO, UNKNOWN, "u")
CASE(create_session, JSON(402, "blocked"), EBILLING, USER, "r")
CASE(create_session, JSON(409, "a session exists with other metadata"),
     EEXIST, USER, "")
CASE(create_session, JSON(422, "tags: too many"), EREJECTED, USER, "")
CASE(create_session, JSON(429, "slow down"), EREJECTED, SERVER, "r")
CASE(create_session, JSON(500, "down"), ESERVER, SERVER, "u")

/* A question about what there is at the service. */
CASE(get_run, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(get_run, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "r")
CASE(get_run, PAGE(404), EPROTO, UNKNOWN, "r")
CASE(get_run, JSON(401, "no such key"), EAUTH, USER, "")
CASE(get_run, JSON(404, "training run not found: r"), ENOENT, USER, "")
CASE(get_run, JSON(404, "Model not found"), ENOENT, USER, "")
CASE(get_run, JSON(404, "session not found: r"), ENOENT, USER, "")
CASE(get_run, JSON(404, "Not Found"), ENOTSUP, USER, "")
CASE(get_run, JSON(503, "down"), ESERVER, SERVER, "r")

/* A mutation without a number that may be done twice. */
CASE(set_checkpoint_ttl, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(set_checkpoint_ttl, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "u")
CASE(set_checkpoint_ttl, PAGE(403), EPROTO, UNKNOWN, "u")
CASE(set_checkpoint_ttl, JSON(400, "ttl_seconds: out of range"),
     EREJECTED, USER, "")
CASE(set_checkpoint_ttl, JSON(402, "blocked"), EBILLING, USER, "r")
CASE(set_checkpoint_ttl, JSON(404, "checkpoint not found"), ENOENT, USER, "")
CASE(set_checkpoint_ttl, JSON(405, "Method Not Allowed"), ENOTSUP, USER, "")
CASE(set_checkpoint_ttl, JSON(503, "down"), ESERVER, SERVER, "u")
CASE(delete_checkpoint, LOST(ETIMEDOUT), ETRANSPORT, UNKNOWN, "u")
CASE(delete_checkpoint, JSON(404, "checkpoint not found"), ENOENT, USER, "")
CASE(delete_checkpoint, JSON(425, "the checkpoint is pending"),
     EREJECTED, USER, "r")
CASE(delete_checkpoint, JSON(429, "slow down"), EREJECTED, SERVER, "r")
CASE(delete_checkpoint, JSON(500, "down"), ESERVER, SERVER, "u")

/* create_model: a mutation without a number. */
CASE(create_trainer, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(create_trainer, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "u")
CASE(create_trainer, LOST(ETIMEDOUT), ETRANSPORT, UNKNOWN, "u")
CASE(create_trainer, BODY(200, "{}"), EPROTO, UNKNOWN, "u")
CASE(create_trainer, BODY(302, ""), EPROTO, UNKNOWN, "u")
CASE(create_trainer, JSON(400, "lora_config.rank must be a power of 2"),
     EREJECTED, USER, "")
CASE(create_trainer, JSON(402, "blocked"), EBILLING, USER, "r")
CASE(create_trainer, JSON(404, "base_model 'x' is not served here"),
     ENOENT, USER, "")
CASE(create_trainer, JSON(404, "session not found: s1"), ESESSION, USER, "")
CASE(create_trainer, JSON(408, "too late"), ESERVER, SERVER, "u")
CASE(create_trainer, JSON(410, "session s1 has ended"), ESESSION, USER, "")
CASE(create_trainer, JSON(425, "the checkpoint is pending"),
     EREJECTED, USER, "r")
CASE(create_trainer, JSON(429, "slow down"), EREJECTED, SERVER, "r")
CASE(create_trainer, JSON(503, "down"), ESERVER, SERVER, "u")
CASE(create_trainer_from_state, JSON(404, "path: checkpoint not found"),
     ENOENT, USER, "")

/* get_info: a read. */
CASE(get_info, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(get_info, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "r")
CASE(get_info, PAGE(404), EPROTO, UNKNOWN, "r")
CASE(get_info, JSON(401, "no such key"), EAUTH, USER, "")
CASE(get_info, JSON(404, "model not found: s1:train:0"), ENOENT, USER, "fn")
CASE(get_info, JSON(409, "busy"), EREJECTED, USER, "r")
CASE(get_info, JSON(500, "down"), ESERVER, SERVER, "r")

/* optim_step, as it is submitted: numbered. */
CASE(optim_step, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "fn")
CASE(optim_step, UNSENT(ETLS), ETLS, UNKNOWN, "fn")
CASE(optim_step, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "fun")
CASE(optim_step, LOST(ETIMEDOUT), ETRANSPORT, UNKNOWN, "fun")
CASE(optim_step, BODY(200, "{}"), EPROTO, UNKNOWN, "fun")
CASE(optim_step, PAGE(200), EPROTO, UNKNOWN, "fun")
CASE(optim_step, BODY(302, ""), EPROTO, UNKNOWN, "fun")
CASE(optim_step, PAGE(403), EPROTO, UNKNOWN, "fun")
CASE(optim_step, PAGE(404), EPROTO, UNKNOWN, "fun")
CASE(optim_step, BODY(400, ""), EPROTO, UNKNOWN, "fun")
CASE(optim_step, JSON(400, "beta1 must be below 1"), EREJECTED, USER, "")
CASE(optim_step, JSON(401, "no such key"), EAUTH, USER, "fn")
CASE(optim_step, JSON(402, "blocked"), EBILLING, USER, "fn")
CASE(optim_step, JSON(403, "You do not have access to this model"),
     EREJECTED, USER, "")
CASE(optim_step, JSON(403, "Invalid session_id"), ESESSION, USER, "fn")
CASE(optim_step, JSON(404, "model not found: s1:train:0"), ENOENT, USER, "fn")
CASE(optim_step, JSON(404, "session not found: s1"), ESESSION, USER, "fn")
CASE(optim_step, JSON(408, "too late"), ESERVER, SERVER, "fun")
CASE(optim_step, JSON(409, "busy"), EREJECTED, USER, "")
CASE(optim_step, JSON(409, "seq_id 1 was used before: the next one is 5"),
     EREJECTED, USER, "fn")
CASE(optim_step, JSON(409, "s1:train:0:1 was used by a call that was rejected"),
     EREJECTED, USER, "")
CASE(optim_step, JSON(410, "session s1 has ended"), ESESSION, USER, "fn")
CASE(optim_step, JSON(413, "too large"), EREJECTED, USER, "fn")
CASE(optim_step, JSON(422, "adam_params.beta1: not a number"),
     EREJECTED, USER, "")
CASE(optim_step, JSON(429, "slow down"), EREJECTED, SERVER, "fn")
CASE(optim_step, JSON(500, "boom"), ESERVER, SERVER, "fun")
CASE(optim_step, PAGE(502), ESERVER, SERVER, "fun")
CASE(optim_step, JSON(504, "Timeout while publishing request"),
     ESERVER, SERVER, "fun")

/* The same for what names something. */
CASE(save_state, JSON(409, "checkpoint a already exists"), EEXIST, USER, "")
CASE(load_state, JSON(425, "the checkpoint is pending"), EREJECTED, USER, "r")
CASE(load_state, JSON(404, "path: checkpoint not found"), ENOENT, USER, "")
CASE(load_state, JSON(400, "LoadWeights is not permitted with seq_id 4"),
     EREJECTED, USER, "")

/* asample, as it is submitted: changes nothing. */
CASE(sample, UNSENT(ECONNECT), ECONNECT, UNKNOWN, "r")
CASE(sample, LOST(ETRANSPORT), ETRANSPORT, UNKNOWN, "r")
CASE(sample, PAGE(403), EPROTO, UNKNOWN, "r")
CASE(sample, JSON(400, "Prompt length plus max_tokens exceeds the window"),
     EREJECTED, USER, "")
CASE(sample, JSON(402, "blocked"), EBILLING, USER, "r")
CASE(sample, JSON(404, "sampling session not found: s1:sample:0"),
     ENOENT, USER, "")
CASE(sample, JSON(410, "session s1 has ended"), ESESSION, USER, "")
CASE(sample, JSON(425, "the checkpoint is pending"), EREJECTED, USER, "r")
CASE(sample, JSON(429, "2000 samples are under way"), ETIMEDOUT, UNKNOWN, "r")
CASE(sample, JSON(503, "down"), ESERVER, SERVER, "r")

/* The result of an optim_step that was accepted. */
CASE(optim_step_result, UNSENT(ECONNECT), ETIMEDOUT, UNKNOWN, "u")
CASE(optim_step_result, LOST(ETRANSPORT), ETIMEDOUT, UNKNOWN, "u")
CASE(optim_step_result, BODY(200, "no json"), EPROTO, UNKNOWN, "u")
CASE(optim_step_result, PAGE(403), ETIMEDOUT, UNKNOWN, "u")
CASE(optim_step_result, JSON(400, "bad"), EREJECTED, USER, "u")
CASE(optim_step_result, JSON(401, "no such key"), EAUTH, USER, "u")
CASE(optim_step_result, JSON(402, "blocked"), EBILLING, USER, "u")
CASE(optim_step_result, JSON(404, "request_id not found"), ELOST, SERVER, "u")
CASE(optim_step_result, JSON(410, "the result is no longer kept"),
     ELOST, SERVER, "u")
CASE(optim_step_result, JSON(503, "down"), ETIMEDOUT, UNKNOWN, "u")
CASE(optim_step_result, ENDED("user", "NonFiniteInTensor"), ESERVER, USER, "")
CASE(optim_step_result, ENDED("server", "boom"), ESERVER, SERVER, "")
CASE(optim_step_result, ENDED("unknown", "boom"), ESERVER, UNKNOWN, "")
CASE(optim_step_result,
     ENDED("server", "the model can't go on: the engine crashed"),
     ESERVER, SERVER, "fn")
CASE(save_state_result,
     ENDED("user", "ResourceAlreadyExists: checkpoint a already exists"),
     EEXIST, USER, "")
CASE(load_state_result, ENDED("user", "path: checkpoint not found"),
     ENOENT, USER, "")
CASE(create_trainer_result, ENDED("server", "no memory for another model"),
     ESERVER, SERVER, "")

/* The result of a sample. */
CASE(sample_result, JSON(404, "request_id not found"), ELOST, SERVER, "r")
CASE(sample_result, ENDED("user", "PromptTooLong"), ESERVER, USER, "")
CASE(sample_result, ENDED("server", "boom"), ESERVER, SERVER, "r")

/* A step behind a save that could not be delivered, and a step whose caller
 * closes the client. */
CASE(behind_a_lost_save, JSON(503, "down"), EFATAL, UNKNOWN, "fn")
CASE(close, JSON(503, "down"), ECLOSED, UNKNOWN, "u")
