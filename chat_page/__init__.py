"""The parts of the chat page that `gradio_helper.make_demo` puts together."""
