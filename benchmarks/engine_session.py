"""Our ChatSession."""

from optimum.intel.openvino import OVModelForVisualCausalLM
from transformers import AutoProcessor

from benchmarks.scenario import Reply
from chat_session import ChatSession


class Engine:
    """One session for all that is asked, as on the chat page."""

    def __init__(self, model_dir, weights):
        model = OVModelForVisualCausalLM.from_pretrained(model_dir, device="CPU", compile=False)
        self.session = _TellsTokens(model, AutoProcessor.from_pretrained(model_dir))

    def ask(self, messages: list[dict], new_tokens: int) -> Reply:
        reply = self.session.reply = Reply()
        answer = self.session.stream(messages, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
        reply.text = "".join(answer)
        reply.prompt_tokens = answer.stats.prompt_tokens
        reply.visual_tokens = answer.stats.visual_tokens
        reply.reused_tokens = answer.stats.reused_tokens
        return reply

    def prepare(self, messages: list[dict]) -> None:
        self.session.prepare(messages)


class _TellsTokens(ChatSession):
    """A session streams text, and a token is not always text: of a model with random weights hardly any is."""

    reply: Reply

    def _tokens(self, *args):
        tokens = super()._tokens(*args)
        try:
            for token in tokens:
                self.reply.token()
                yield token
        finally:
            tokens.close()
