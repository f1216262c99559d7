"""The parts of the chat page that `gradio_helper.make_demo` puts together.

layout             what is on the page, from top to bottom
question_handlers  what leads to an answer: a question, retry, edit, an example, a program's request; and what happens
                   while a visitor types
button_handlers    every other button, and opening the page
answering          one answer, from a question to its last word
messages           between the input box and the conversation
render             the conversation as Gradio's Chatbot takes it
draw_boxes         boxes of an answer, on the picture that it is about
prefetch           encoding what was uploaded before the question is asked
previews           the frames of a video and the pages of a document that the model is given
settings           the controls in the panel
header, examples   which model this is, and questions to begin with
strings            sentences
stored_messages    messages that leave the page, and what is believed of those that come back
browser_state      a conversation, in the visitor's browser
conversation_file  a conversation as one file
markdown_file      a conversation as Markdown
theme              style sheets (*.css), JavaScript (*.js), settings of `launch`
"""
